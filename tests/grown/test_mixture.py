"""EM, the chain, and the line that it is in one of its experts."""

from __future__ import annotations

import pytest
import torch

from clso.errors import DataError
from clso.grown.mixture import fit_weights, mix, mixed_around


def example(n: int = 400) -> tuple[torch.Tensor, list[torch.Tensor], list[torch.Tensor], list[int]]:
    g = torch.Generator().manual_seed(0)
    experts = [torch.rand(n, generator=g, dtype=torch.float64) for _ in range(3)]
    buckets = [torch.randint(-1, 4, (n,), generator=g) for _ in range(3)]
    experts = [torch.where(b >= 0, p, 0.0) for p, b in zip(experts, buckets, strict=True)]
    return torch.full((n,), 0.1, dtype=torch.float64), experts, buckets, [4, 4, 4]


def test_more_steps_of_em_make_the_text_likelier() -> None:
    base, experts, buckets, sizes = example()
    losses = []
    for steps in (0, 1, 3, 10, 30):
        weights = fit_weights(base, experts, buckets, sizes, steps=steps)
        losses.append(-mix(base, experts, buckets, weights).log().mean().item())
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] - 0.01


def test_em_finds_the_weights_that_a_text_was_drawn_with() -> None:
    g = torch.Generator().manual_seed(1)
    n, true = 40_000, torch.tensor([0.2, 0.7], dtype=torch.float64)
    bucket = torch.randint(0, 2, (n,), generator=g)
    # Two tokens; the base draws the first with 0.9, the expert with 0.2.
    p_first = 0.9 + true[bucket] * (0.2 - 0.9)
    first = torch.rand(n, generator=g, dtype=torch.float64) < p_first
    base, expert = torch.where(first, 0.9, 0.1).double(), torch.where(first, 0.2, 0.8).double()
    (weight,) = fit_weights(base, [expert], [bucket], [2], steps=100)
    assert weight.tolist() == pytest.approx(true.tolist(), abs=0.02)


def test_a_silent_expert_leaves_the_mixture_as_it_is() -> None:
    base, experts, _, sizes = example()
    silent = [torch.full((len(base),), -1)] * 3
    weights = fit_weights(base, experts, silent, sizes, steps=5)
    assert torch.equal(mix(base, experts, silent, weights), base)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_chain_is_a_line_in_each_expert(stage: int) -> None:
    base, experts, buckets, sizes = example()
    weights = fit_weights(base, experts, buckets, sizes, steps=5)
    a, b = mixed_around(base, experts, buckets, weights, stage)
    torch.testing.assert_close(a + b * experts[stage], mix(base, experts, buckets, weights))


def test_weights_need_text() -> None:
    with pytest.raises(DataError, match="one token at least"):
        fit_weights(torch.empty(0), [], [], [])
