"""A chain of mixtures whose weights EM finds: deleted interpolation (Jelinek and Mercer 1980) over experts of any kind.

Stage i takes the mixture of the stages before it and its own expert:

    m_0 = p_0,        m_i = (1 - w_i) m_{i-1} + w_i p_i,        w_i = the weight of the position's bucket at stage i

A position at which an expert has nothing to say passes on what was there. The weights make a text likeliest; each step of EM
is closed, and never makes it less likely but for the prior, which pulls the weight of a bucket with little text towards the
stage's average.

Many chains are computed at once: C of them, on n positions each, with S stages. All weights of a chain stand in one row of W
slots, and `slots` (S, C, n) says which one a position uses, W for none. A chain's numbers do not depend on the others'.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from clso.errors import DataError
from clso.grown.sums import sums

__all__ = ["PRIOR", "START_WEIGHT", "fit_weights", "mix", "mixed_around"]

PRIOR = 2.0
"""Positions' worth of the stage's average in each bucket."""
START_WEIGHT = 0.1
"""Of every bucket, before EM begins."""


def fit_weights(
    base: Tensor,
    experts: Tensor,
    slots: Tensor,
    sizes: tuple[int, ...],
    *,
    steps: int = 20,
    start: Tensor | None = None,
) -> Tensor:
    """Weights (C, W) float64 of C chains.

    Parameters
    ----------
    base : (C, n) float64, what the first distribution gives each target; positive.
    experts, slots : (S, C, n), the targets' probabilities, and where the weights are as int64.
    sizes : how many slots each stage has, of all stages whose weights a row holds, one after the other. `experts` may be of
        some of them only.
    start : (C, W) weights to begin with.

    Raises `DataError` if there is no text to fit on.
    """
    (c, n), w, s = base.shape, sum(sizes), len(sizes)
    if not n:
        raise DataError(
            "weights are fitted on one token at least", got=0, remedy="Give a longer text."
        )
    weights = base.new_full((c, w), START_WEIGHT) if start is None else start
    if not len(experts):
        return weights
    chain = _Chains(slots, w)
    # Each sum is taken of the stages' own shares and of what has arrived at them, in one go.
    stages, rows = _stages(sizes, base.device), torch.arange(2 * c, device=base.device)[:, None]
    # What nothing is said of goes behind them, each position apart: a GPU adds to one place one value after the other.
    n_places = 2 * c * (w + 1)
    behind = n_places + torch.arange(n, device=base.device)
    own = torch.where(slots == w, behind, torch.stack([chain.place, chain.place + c * (w + 1)]))
    places = own.flatten()
    of_stage = (stages + rows * s).flatten()
    both = experts.new_empty(2, *experts.shape)
    for _ in range(steps):
        share, rest = chain.shares(weights)
        torch.mul(share.mul_(experts), rest[1:], out=both[0])
        # What has arrived at a stage is what no later stage has claimed.
        _cumulate(rest[0].mul_(base), both[0], out=both[1])
        both *= both[1, -1].reciprocal()
        found = sums(places, both.flatten(), n_places + n)[:n_places].view(2, c, w + 1)[:, :, :w]
        own, arrived = sums(of_stage, found.flatten(), 2 * c * s).view(2, c, s)
        average = (own + 0.1) / (arrived + 0.2)
        weights = (found[0] + PRIOR * average[:, stages]) / (found[1] + PRIOR)
    return weights


@cache
def _stages(sizes: tuple[int, ...], device: torch.device) -> Tensor:
    """The stage of each slot (W,)."""
    return torch.tensor([i for i, size in enumerate(sizes) for _ in range(size)]).to(device)


class _Chains:
    """The slots of all chains as places in one row of weights, so that a step is a few operations whatever the chains."""

    def __init__(self, slots: Tensor, n_slots: int) -> None:
        chain = torch.arange(slots.shape[1], device=slots.device)[:, None]
        self.place = slots + chain * (n_slots + 1)

    def shares(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Each stage's share of what it gets (S, C, n), and what all stages from i on leave of it (S + 1, C, n)."""
        row = torch.nn.functional.pad(weights, (0, 1)).flatten()  # no slot has weight 0
        share = row.index_select(0, self.place.flatten()).view(self.place.shape)
        left = share.new_ones(len(share) + 1, *share.shape[1:])
        torch.sub(1, share, out=left[:-1])
        if left.is_cuda:
            return share, torch.cumprod(left.flip(0), 0).flip(0)
        for i in range(len(share) - 1, -1, -1):
            left[i] *= left[i + 1]
        return share, left


def _cumulate(first: Tensor, values: Tensor, out: Tensor) -> None:
    """`first` and the sums of the rows so far. A CPU is quicker row by row, a GPU in one operation.

    Either way each sum is taken row after row, so that a row of zeros changes none.
    """
    if values.is_cuda:
        torch.cumsum(values, 0, out=out)
        out += first
        return
    for i, row in enumerate(values):
        first = torch.add(first, row, out=out[i])


def _reach(slots: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """What arrives in the end of each stage's expert (S, C, n), and of the base (C, n)."""
    share, rest = _Chains(slots, weights.shape[1]).shares(weights)
    return share.mul_(rest[1:]), rest[0]


def _total(base: Tensor, parts: Tensor) -> Tensor:
    """The base and all parts."""
    if parts.is_cuda:
        return torch.cumsum(parts, 0)[-1] + base
    for part in parts:
        base = base + part
    return base


def mix(base: Tensor, experts: Tensor, slots: Tensor, weights: Tensor) -> Tensor:
    """What whole chains give each target: (C, n) float64."""
    if not len(experts):
        return base
    reach, rest = _reach(slots, weights)
    return _total(base * rest, reach.mul_(experts))


def mixed_around(
    base: Tensor, experts: Tensor, slots: Tensor, weights: Tensor, stage: int
) -> tuple[Tensor, Tensor]:
    """Chains as lines a + b p in the probability p of one stage's expert: a and b, (C, n) float64.

    So another expert in that place costs one multiplication and one logarithm a token.
    """
    reach, rest = _reach(slots, weights)
    b = reach[stage].clone()
    reach.mul_(experts)[stage] = 0
    return _total(base * rest, reach), b
