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
    weights = (
        list(start) if start is not None else [base.new_full((n,), START_WEIGHT) for n in sizes]
    )
    used = [b.clamp(min=0) for b in buckets]
    spoken = [(b >= 0).double() for b in buckets]
    for _ in range(steps):
        shares = [w[b] * s for w, b, s in zip(weights, used, spoken, strict=True)]
        before = [base]
        for share, p in zip(shares, experts, strict=True):
            before.append(torch.lerp(before[-1], p, share))
        reach = 1 / before[-1]
        for i in range(len(weights) - 1, -1, -1):
            own = reach * shares[i] * experts[i]
            arrived = reach * before[i + 1] * spoken[i]
            counted = torch.bincount(used[i], weights=own, minlength=sizes[i])
            out_of = torch.bincount(used[i], weights=arrived, minlength=sizes[i])
            average = (counted.sum() + 0.1) / (out_of.sum() + 0.2)
            weights[i] = (counted + PRIOR * average) / (out_of + PRIOR)
            reach = reach * (1 - shares[i])
    return weights


def mix(
    base: Tensor, experts: Sequence[Tensor], buckets: Sequence[Tensor], weights: Sequence[Tensor]
) -> Tensor:
    """What the whole chain gives each target: (n,) float64."""
    out = base
    for p, bucket, weight in zip(experts, buckets, weights, strict=True):
        share = torch.where(bucket >= 0, weight[bucket.clamp(min=0)], 0.0)
        out = torch.lerp(out, p, share)
    return out


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
    zero = torch.zeros_like(base)
    with_zero = [zero if i == stage else p for i, p in enumerate(experts)]
    a = mix(base, with_zero, buckets, weights)
    none = [zero] * len(experts)
    none[stage] = torch.ones_like(base)
    return a, mix(zero, none, buckets, weights)
