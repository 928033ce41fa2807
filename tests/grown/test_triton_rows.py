"""What only a GPU computes in another way: rows of least squares, and what a head expects."""

from __future__ import annotations

import pytest
import torch

from clso.device import has_triton
from clso.grown.als import SeenRows
from clso.grown.log_bilinear import LogBilinear, fit_maps

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and has_triton()), reason="needs CUDA and Triton"
)


@pytest.mark.parametrize("k", [16, 63, 126])
def test_rows_of_all_lengths_are_solved_as_on_a_cpu(k: int) -> None:
    g = torch.Generator().manual_seed(0)
    lengths = torch.tensor([1, 3, 32, 33, 200, 256, 257, 1024, 1025, 1500, 5000, 2, 2900])
    v = 6000
    i = torch.repeat_interleave(torch.arange(len(lengths)), lengths)
    j = torch.cat([torch.randperm(v, generator=g)[:n].sort().values for n in lengths.tolist()])
    count, target = torch.rand(len(i), generator=g) * 3, torch.randn(len(i), generator=g)
    other = torch.randn(v, k, generator=g) / k**0.5
    weight, start = torch.rand(len(lengths), generator=g), torch.randn(len(lengths), k, generator=g)
    weight, start = weight + 0.5, 0.1 * start
    expected = SeenRows(i, j, count, target, v).solve(other, weight, start, 3)
    seen = SeenRows(i.cuda(), j.cuda(), count.cuda(), target.cuda(), v)
    found = seen.solve(other.cuda(), weight.cuda(), start.cuda(), 3)
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


def test_a_log_bilinear_expert_is_what_it_is_on_a_cpu() -> None:
    g = torch.Generator().manual_seed(0)
    v, r = 1000, 63
    codes = (torch.randn(v, r, generator=g) / r**0.5).half()
    bias = torch.log_softmax(torch.randn(v, 1, generator=g), 0).half()
    model = LogBilinear(codes, torch.cat([codes, bias], 1), torch.eye(7 * r + 1, r))
    blocks = torch.randint(v, (64, 33), generator=g)
    both = []
    for device in ("cpu", "cuda"):
        own = model.to(torch.device(device))
        fitted = fit_maps(own, blocks.to(device), steps=3)
        p = [m.target_probabilities(blocks.to(device)).cpu() for m in (own, fitted)]
        both.append([*p, -p[1].log().mean()])
    for found, expected in zip(both[1], both[0], strict=True):
        torch.testing.assert_close(found, expected, rtol=2e-2, atol=1e-6)
