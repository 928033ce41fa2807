"""Attention on states that matter to different degrees."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from clso.device import can_ask

__all__ = [
    "TINY",
    "attend",
    "attention",
    "heaviest_states",
    "is_positive",
    "shares",
    "top_weights",
]

_MAX_EXPONENT = 30.0
TINY = 1e-20
"""Keeps the weights finite if every importance is zero."""


def attend(scores: Tensor, importance: Tensor) -> Tensor:
    """Weights importance_s exp(score_s) / sum over s, along the last dimension: (..., S) and (S,)
    -> (..., S).

    Importance one everywhere is softmax. A target of importance zero gets nothing and changes no
    other weight, and still has a gradient to grow by; that is what pruning and allocation rest on,
    and why it is no log-importance in a softmax."""
    return importance * shares(scores, importance)


def shares(scores: Tensor, importance: Tensor) -> Tensor:
    """exp(score_s) / sum over r of importance_r exp(score_r): weights, as far as importance is not
    in them."""
    peak = scores.detach().masked_fill(importance <= 0, -torch.inf).amax(dim=-1, keepdim=True)
    # only what is off can be above the peak
    e = torch.exp((scores - peak).clamp_max(_MAX_EXPONENT))
    return e / (importance * e).sum(dim=-1, keepdim=True).clamp_min(TINY)


def attention(importance: Tensor) -> Callable[[Tensor], Tensor]:
    """`attend` for many scores of one importance (S,): if all of it is known to be positive, in the two
    operators of a softmax."""
    if is_positive(importance):
        offset = importance.log()
        return lambda scores: torch.softmax(scores + offset, dim=-1)
    return partial(attend, importance=importance)


def is_positive(importance: Tensor) -> bool:
    """Whether all of it is known to be."""
    return can_ask(importance) and bool((importance > 0).all())


def heaviest_states(weights: Tensor, top_k: int) -> Tensor:
    """Which states have the `top_k` heaviest weights (..., S), the first of equals: (..., top_k)."""
    return weights.sort(dim=-1, descending=True, stable=True).indices[..., :top_k]


def top_weights(weights: Tensor, top_k: int) -> Tensor:
    """Weights (..., S) where, for top_k > 0, only the `top_k` heaviest are left, which share all of
    the weight."""
    if not 0 < top_k < weights.shape[-1]:
        return weights
    index = heaviest_states(weights, top_k)
    heaviest = weights.gather(-1, index)
    heaviest = heaviest / heaviest.sum(dim=-1, keepdim=True).clamp_min(TINY)
    return torch.zeros_like(weights).scatter(-1, index, heaviest)
