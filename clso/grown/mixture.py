"""A chain of mixtures whose weights EM finds: deleted interpolation (Jelinek and Mercer 1980) over experts of any kind.

Stage i takes the mixture of the stages before it and its own expert:

    m_0 = p_0,        m_i = (1 - w_i) m_{i-1} + w_i p_i,        w_i = the weight of the position's bucket at stage i

A position at which an expert has nothing to say is in no bucket (-1), and passes on what was there. The weights make a text
likeliest; each step of EM is closed, and never makes it less likely but for the prior, which pulls the weight of a bucket
with little text towards the stage's average.
"""

from __future__ import annotations

from collections.abc import Sequence

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
    experts: Sequence[Tensor],
    buckets: Sequence[Tensor],
    sizes: Sequence[int],
    *,
    steps: int = 20,
    start: Sequence[Tensor] | None = None,
) -> list[Tensor]:
    """Weights of each stage's buckets, (size,) float64 each.

    Parameters
    ----------
    base : (n,) float64, what the first distribution gives each target; positive.
    experts, buckets : for each stage (n,): the target's probability, and the bucket (-1 for none) as int64.
    sizes : number of buckets of each stage.
    start : weights to begin with.

    Raises `DataError` if there is no text to fit on.
    """
    if not len(base):
        raise DataError(
            "weights are fitted on one token at least", got=0, remedy="Give a longer text."
        )
    first = start if start is not None else [base.new_full((n,), START_WEIGHT) for n in sizes]
    if not sizes:
        return []
    chain, flat = _Chain(buckets, sizes), torch.cat(list(first))
    p = torch.stack(list(experts))
    stage = torch.repeat_interleave(
        torch.arange(len(sizes), device=base.device), torch.tensor(sizes, device=base.device)
    )
    for _ in range(steps):
        share, rest = chain.shares(flat)
        own = torch.empty_like(rest)
        torch.mul(base, rest[0], out=own[0])
        torch.mul(share.mul_(p), rest[1:], out=own[1:])
        own /= own.sum(0)
        counted = chain.sums(own[1:])
        # What has arrived at a stage is what no later stage has claimed.
        out_of = chain.sums(_cumulated(own)[1:])
        average = (sums(stage, counted, len(sizes)) + 0.1) / (sums(stage, out_of, len(sizes)) + 0.2)
        flat = (counted + PRIOR * average[stage]) / (out_of + PRIOR)
    return list(torch.split(flat, list(sizes)))


class _Chain:
    """The buckets of all stages as places in one row of weights, so that a step is a few operations whatever the stages."""

    def __init__(self, buckets: Sequence[Tensor], sizes: Sequence[int]) -> None:
        stacked, self._n = torch.stack(list(buckets)), sum(sizes)
        offset = torch.tensor([0, *sizes[:-1]], device=stacked.device).cumsum(0)
        # Positions without a bucket share one more weight, which is 0.
        self._place = torch.where(stacked >= 0, stacked + offset[:, None], self._n)

    def shares(self, flat: Tensor) -> tuple[Tensor, Tensor]:
        """Each stage's share of what it gets (S, n), and what all stages from i on leave of it (S + 1, n)."""
        share = torch.cat([flat, flat.new_zeros(1)]).index_select(0, self._place.flatten())
        share = share.view(self._place.shape)
        left = share.new_ones(len(share) + 1, share.shape[1])
        torch.sub(1, share, out=left[:-1])
        if left.is_cuda:
            return share, torch.cumprod(left.flip(0), 0).flip(0)
        for i in range(len(share) - 1, -1, -1):
            left[i] *= left[i + 1]
        return share, left

    def sums(self, values: Tensor) -> Tensor:
        """Of values (S, n) between 0 and 1, each bucket's sum, all stages' in one row."""
        return sums(self._place.flatten(), values.flatten(), self._n + 1)[:-1]


def _cumulated(values: Tensor) -> Tensor:
    """Sums (S, n) of the rows so far, perhaps in place. A CPU is quicker row by row, a GPU in one operation."""
    if values.is_cuda:
        return torch.cumsum(values, 0)
    for i in range(1, len(values)):
        values[i] += values[i - 1]
    return values


def mix(
    base: Tensor, experts: Sequence[Tensor], buckets: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """What the whole chain gives each target: (n,) float64."""
    if not len(weights):
        return base
    chain = _Chain(buckets, [len(w) for w in weights])
    share, rest = chain.shares(torch.cat(list(weights)))
    return base * rest[0] + (share * torch.stack(list(experts)) * rest[1:]).sum(0)


def mixed_around(
    base: Tensor,
    experts: Sequence[Tensor],
    buckets: Sequence[Tensor],
    weights: Sequence[Tensor],
    stage: int,
) -> tuple[Tensor, Tensor]:
    """The chain as a line a + b p in the probability p of one stage's expert: a and b, (n,) float64.

    So another expert in that place costs one multiplication and one logarithm a token.
    """
    chain = _Chain(buckets, [len(w) for w in weights])
    share, rest = chain.shares(torch.cat(list(weights)))
    reach = share * rest[1:]
    p = torch.stack(list(experts))
    p[stage] = 0
    return base * rest[0] + (reach * p).sum(0), reach[stage]
