"""The selective scan's kernels in CUDA C++, compiled for a CPU, against plain torch."""

from __future__ import annotations

import pytest
import torch

from clso.models import cuda_selective, selective
from clso.models.fused import difference, with_gradients

SIZES = [  # sequences, tokens, channels, states
    (1, 1, 3, 1),
    (2, 70, 5, 3),
    (1, 100, 33, 16),
    (3, 64, 40, 16),
    (1, 37, 5, 20),
    (2, 33, 2, 64),
]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: " ".join(map(str, sizes)))
@pytest.mark.parametrize("warps", [1, 24, 1056])
@pytest.mark.parametrize("on_cpu", ["forwards", "backwards"], indirect=True)
@pytest.mark.usefixtures("on_cpu")
def test_kernels_give_what_plain_torch_gives(
    sizes: tuple[int, int, int, int], warps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda_selective, "_WARPS", warps)  # segments of a tile, some, or all
    n_batch, n_tokens, e, n = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(n_batch, n_tokens, size) for size in (e, e, n, n)]
    x, step, b, c = (torch.randn(shape, generator=generator) for shape in shapes)
    a = -torch.rand(e, n, generator=generator) * 10
    inputs = x, step.abs(), a, b, c
    found = with_gradients(selective._by(cuda_selective), inputs)
    expected = with_gradients(selective._plain, [t.double() for t in inputs])
    assert difference(found, expected) < 1e-5


def test_sizes_that_kernels_take() -> None:
    assert cuda_selective.fits(1)
    assert cuda_selective.fits(64)
    assert not cuda_selective.fits(65)
