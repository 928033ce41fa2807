"""EM, the chain, and the line that it is in one of its experts."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clso.errors import DataError
from clso.grown.mixture import fit_weights, mix, mixed_around

SIZES = (4, 4, 4)


def example(n: int = 400) -> tuple[Tensor, Tensor, Tensor]:
    """Two chains of three stages: (2, n) and twice (3, 2, n)."""
    g = torch.Generator().manual_seed(0)
    experts = torch.rand(3, 2, n, generator=g, dtype=torch.float64)
    bucket = torch.randint(-1, 4, (3, 2, n), generator=g)
    begin = torch.tensor([0, 4, 8])[:, None, None]
    slots = torch.where(bucket >= 0, bucket + begin, sum(SIZES))
    base = torch.full((2, n), 0.1, dtype=torch.float64)
    return base, torch.where(bucket >= 0, experts, 0.0), slots


def test_more_steps_of_em_make_each_text_likelier() -> None:
    base, experts, slots = example()
    losses = []
    for steps in (0, 1, 3, 10, 30):
        weights = fit_weights(base, experts, slots, SIZES, steps=steps)
        losses.append(-mix(base, experts, slots, weights).log().mean(1))
    for own in torch.stack(losses, 1).tolist():
        assert own == sorted(own, reverse=True)
        assert own[-1] < own[0] - 0.01


def test_chains_together_are_those_chains_alone() -> None:
    base, experts, slots = example()
    together = fit_weights(base, experts, slots, SIZES, steps=5)
    for c in (0, 1):
        own = base[c : c + 1], experts[:, c : c + 1], slots[:, c : c + 1]
        assert torch.equal(fit_weights(*own, SIZES, steps=5)[0], together[c])


def test_a_stage_that_a_chain_has_not_changes_nothing_else() -> None:
    base, experts, slots = example()
    two = fit_weights(base, experts[[0, 2]], slots[[0, 2]], SIZES, steps=5)
    absent = slots.clone()
    absent[1] = sum(SIZES)
    experts = experts.clone()
    experts[1] = 0.7
    three = fit_weights(base, experts, absent, SIZES, steps=5)
    assert torch.equal(two, three)
    assert torch.equal(
        mix(base, experts[[0, 2]], slots[[0, 2]], two), mix(base, experts, absent, three)
    )


def test_em_finds_the_weights_that_a_text_was_drawn_with() -> None:
    g = torch.Generator().manual_seed(1)
    n, true = 40_000, torch.tensor([0.2, 0.7], dtype=torch.float64)
    bucket = torch.randint(0, 2, (n,), generator=g)
    # Two tokens; the base draws the first with 0.9, the expert with 0.2.
    p_first = 0.9 + true[bucket] * (0.2 - 0.9)
    first = torch.rand(n, generator=g, dtype=torch.float64) < p_first
    base, expert = torch.where(first, 0.9, 0.1).double(), torch.where(first, 0.2, 0.8).double()
    weight = fit_weights(base[None], expert[None, None], bucket[None, None], (2,), steps=100)
    assert weight[0].tolist() == pytest.approx(true.tolist(), abs=0.02)


def test_a_silent_expert_leaves_the_mixture_as_it_is() -> None:
    base, experts, slots = example()
    silent = torch.full_like(slots, sum(SIZES))
    weights = fit_weights(base, experts, silent, SIZES, steps=5)
    assert torch.equal(mix(base, experts, silent, weights), base)


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_the_chain_is_a_line_in_each_expert(stage: int) -> None:
    base, experts, slots = example()
    weights = fit_weights(base, experts, slots, SIZES, steps=5)
    a, b = mixed_around(base, experts, slots, weights, stage)
    torch.testing.assert_close(a + b * experts[stage], mix(base, experts, slots, weights))


def test_weights_need_text() -> None:
    with pytest.raises(DataError, match="one token at least"):
        nothing = torch.empty(0, 1, 0)
        fit_weights(torch.empty(1, 0), nothing, nothing.long(), ())
