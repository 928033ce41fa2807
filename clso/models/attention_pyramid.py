"""Pyramid attention: the own window exactly, everything before it as averages over 1, 2, 4, ... windows.

The windows before a query's own, w of them, are covered by as many averages as w has binary ones, at most
1 + log2(n / W); the longest lies furthest back. An average of keys and values over c tokens has a score of log c more, so
that equal keys get what full attention gives them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.attention_local import full_attention
from clso.models.attention_patterns import Pyramid

__all__ = ["pyramid_attention"]


def pyramid_attention(q: Tensor, k: Tensor, v: Tensor, pattern: Pyramid) -> Tensor:
    """Causal attention of (a, b, n, d_head)."""
    a, b, n, d = q.shape
    w = pattern.window
    if n <= w:
        return full_attention(q, k, v)
    full, rest = divmod(n, w)
    levels, inside = pattern.levels(n), full * w
    keys, values = (_summaries(x[:, :, :inside], w, levels) for x in (k, v))
    index, bias = _cover(full + bool(rest), full, w, levels, q)

    def windows(x: Tensor, averages: Tensor) -> Tensor:  # (full, a * b, w + levels, d)
        own = x[:, :, :inside].reshape(a * b, full, w, d)
        return torch.cat((own, averages[:, index[:full]]), 2).transpose(0, 1)

    causal = torch.ones(w, w, dtype=torch.bool, device=q.device).tril()
    own = torch.zeros(w, w, dtype=q.dtype, device=q.device).masked_fill(~causal, -math.inf)
    mask = torch.cat((own.expand(full, w, w), bias[:full, None].expand(full, w, levels)), 2)[
        :, None
    ]
    queries = q[:, :, :inside].reshape(a * b, full, w, d).transpose(0, 1)
    out = F.scaled_dot_product_attention(queries, windows(k, keys), windows(v, values), mask)
    found = out.transpose(0, 1).reshape(a, b, inside, d)
    if not rest:
        return found
    last_keys, last_values = (
        torch.cat((x[:, :, inside:], averages[:, index[full]].view(a, b, levels, d)), 2)
        for x, averages in ((k, keys), (v, values))
    )
    last_mask = torch.cat((own[:rest, :rest], bias[full].expand(rest, levels)), 1)
    last = F.scaled_dot_product_attention(q[:, :, inside:], last_keys, last_values, last_mask)
    return torch.cat((found, last), 2)


def _summaries(x: Tensor, w: int, levels: int) -> Tensor:
    """Means over aligned runs of w, 2 w, 4 w, ... tokens, one level after the other: (a, b, n, d) -> (a * b, entries, d)."""
    means = [x.reshape(-1, x.shape[2] // w, w, x.shape[3]).mean(2)]
    for _ in range(levels - 1):
        last = means[-1]
        pairs = last.shape[1] // 2
        means.append(last[:, : 2 * pairs].view(len(last), pairs, 2, last.shape[2]).mean(2))
    return torch.cat(means, 1)


def _cover(n_windows: int, n_full: int, w: int, levels: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """For each window, by level: the place of its average among the summaries of `n_full` windows, and its bias.

    Both (n_windows, levels); where a level has no part in the cover the bias is -inf, and the place is any.
    """
    window = torch.arange(n_windows, device=like.device)[:, None]
    level = torch.arange(levels, device=like.device)
    starts = torch.tensor(
        [sum(n_full >> j for j in range(i)) for i in range(levels)], device=like.device
    )
    there = (window >> level) & 1 == 1
    index = torch.where(there, starts + (window >> level) - 1, 0)
    counts = torch.tensor(
        [math.log(w << i) for i in range(levels)], dtype=like.dtype, device=like.device
    )
    return index, counts.expand(n_windows, levels).masked_fill(~there, -math.inf)
