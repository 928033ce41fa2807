"""Attention by dense masks over all tokens of a batch: slow, and the oracle that the fast ways are held against.

Nothing is shared with them but the patterns' parameters and, for `adaptive`, the signals of a segment.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor

from clso.models.attention_adaptive import Evidence
from clso.models.attention_contexts import SEGMENT, attention_bits, token_signals
from clso.models.attention_patterns import Adaptive, Local, Pattern, Pyramid, Sparse

__all__ = ["reference_attention"]


def reference_attention(
    pattern: Pattern, q: Tensor, k: Tensor, v: Tensor, bounds: list[int], evidence: Evidence
) -> Tensor:
    """Of one head: (N, d_head) each, documents between `bounds` -> (N, d_head)."""
    n = len(q)
    if isinstance(pattern, Pyramid):
        return torch.cat([_pyramid_row(i, pattern.window, q, k, v, bounds) for i in range(n)])
    document = torch.bucketize(torch.arange(n), torch.tensor(bounds[1:]), right=True)
    starts = torch.tensor(bounds)[document]
    i, j = torch.arange(n)[:, None], torch.arange(n)[None, :]
    seen = (document[:, None] == document[None, :]) & (j <= i)
    if isinstance(pattern, Local):
        seen &= i - j < pattern.window
    if isinstance(pattern, Sparse):
        seen &= _chosen(pattern, q, k, starts, bounds)
    scores = q @ k.T * q.shape[1] ** -0.5
    if isinstance(pattern, Adaptive):
        for a, b in pairwise(bounds):
            _adapt(pattern, scores, seen, a, b, evidence)
    out: Tensor = scores.masked_fill(~seen.to(q.device), -math.inf).softmax(1) @ v
    return out


def _chosen(pattern: Sparse, q: Tensor, k: Tensor, starts: Tensor, bounds: list[int]) -> Tensor:
    q, k = q.detach(), k.detach()
    seen = torch.zeros(len(q), len(q), dtype=torch.bool)
    for i in range(len(q)):
        start, b = int(starts[i]), pattern.block
        own = (i - start) // b
        means = {e: k[start + e * b : start + (e + 1) * b].mean(0) for e in range(1, own)}
        liked = sorted(means, key=lambda e: (float((q[i] * means[e]).sum()), e), reverse=True)
        for e in (0, own, *liked[: pattern.k]):
            seen[i, start + e * b : start + (e + 1) * b] = True
    return seen


def _adapt(
    pattern: Adaptive, scores: Tensor, seen: Tensor, a: int, b: int, evidence: Evidence
) -> None:
    """Narrow `seen` for one document, segment by segment."""
    policy, context = pattern.policy, float(pattern.policy.start)
    for at in range(a, b, SEGMENT):
        end = min(at + SEGMENT, b)
        rows = torch.arange(at, end)
        seen[at:end] &= rows[:, None] - torch.arange(len(seen))[None, :] < int(context)
        if policy.signal == "diversity":
            value = attention_bits(scores[at:end].masked_fill(~seen[at:end], -math.inf).softmax(1))
        else:  # of this segment: a token more makes it one that another follows
            longer = torch.cat((evidence.tokens[at:end], evidence.tokens[:1]))
            value = (token_signals(policy.signal, longer, evidence.unigram_log_p) or [0.0])[0]
        context = policy.step(context, value > policy.threshold)


def _pyramid_row(i: int, w: int, q: Tensor, k: Tensor, v: Tensor, bounds: list[int]) -> Tensor:
    start = max(a for a in bounds if a <= i)
    before = (i - start) // w  # windows
    at, keys, values, counts = start, list[Tensor](), list[Tensor](), list[int]()
    while before:
        size = w << (before.bit_length() - 1)
        keys.append(k[at : at + size].mean(0))
        values.append(v[at : at + size].mean(0))
        counts.append(size)
        at += size
        before -= size // w
    own = i + 1 - at
    all_keys = torch.stack([*keys, *k[at : i + 1]])
    bias = torch.tensor([*counts, *[1] * own], dtype=q.dtype).log()
    weights = (all_keys @ q[i] * q.shape[1] ** -0.5 + bias).softmax(0)
    out: Tensor = weights @ torch.stack([*values, *v[at : i + 1]])
    return out[None]
