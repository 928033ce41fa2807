"""Routing: softmax attention whose targets carry a learned importance, and top-k of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

__all__ = ["attend", "attention", "top_weights"]

_MAX_EXPONENT = 30.0
_TINY = 1e-20  # keeps the weights finite where every importance is zero


def attend(scores: Tensor, importance: Tensor) -> Tensor:
    """Weights importance_s exp(score_s) / sum over s, along the last dimension: (..., S) and (S,) -> (..., S).

    Importance one everywhere is softmax. A target of importance zero gets nothing and changes no other weight, and still has
    a gradient to grow by; that is what pruning and allocation rest on, and why it is no log-importance in a softmax.
    """
    peak = scores.detach().masked_fill(importance <= 0, -torch.inf).amax(dim=-1, keepdim=True)
    weights = importance * torch.exp((scores - peak).clamp_max(_MAX_EXPONENT))  # only what is off can be above the peak
    return weights / weights.sum(dim=-1, keepdim=True).clamp_min(_TINY)


def attention(importance: Tensor) -> Callable[[Tensor], Tensor]:
    """`attend` for many scores of one importance (S,): where all of it is positive, in the two operators of a softmax."""
    if bool((importance > 0).all()):
        offset = importance.log()
        return lambda scores: torch.softmax(scores + offset, dim=-1)
    return partial(attend, importance=importance)


def top_weights(weights: Tensor, top_k: int) -> Tensor:
    """Weights (..., S) where, for top_k > 0, only the `top_k` heaviest are left, which share all of the weight."""
    if not 0 < top_k < weights.shape[-1]:
        return weights
    heaviest, index = weights.topk(top_k, dim=-1)
    heaviest = heaviest / heaviest.sum(dim=-1, keepdim=True).clamp_min(_TINY)
    return torch.zeros_like(weights).scatter(-1, index, heaviest)
