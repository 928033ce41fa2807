"""Local attention whose window follows the text, segment by segment (`clso.models.attention_contexts`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.attention_contexts import (
    SEGMENT,
    ContextPolicy,
    attention_bits,
    contexts_of,
    token_signals,
)
from clso.models.attention_local import band
from clso.models.documents import Documents

__all__ = ["Evidence", "adaptive_attention", "attention_contexts"]


@dataclass(frozen=True)
class Evidence:
    """What token signals are read from: the documents' tokens (N,), and a text's unigrams (V,) in nats."""

    tokens: Tensor
    unigram_log_p: Tensor | None = None
    seen: list[tuple[ContextPolicy, list[list[list[int]]]]] | None = None
    """If given, gets the contexts by head, document and segment of every adaptive attention."""


@torch.no_grad()
def attention_contexts(
    q: Tensor, k: Tensor, policy: ContextPolicy, documents: Documents, evidence: Evidence
) -> list[list[list[int]]]:
    """Contexts by head, document and segment, for queries and keys (N, heads, d_head). The diversity is a head's own."""
    spans = list(pairwise(documents.bounds))
    if policy.signal == "diversity":
        return [
            [_by_diversity(q[a:b, h], k[a:b, h], policy) for a, b in spans]
            for h in range(q.shape[1])
        ]
    signals = [
        token_signals(policy.signal, evidence.tokens[a:b], evidence.unigram_log_p) for a, b in spans
    ]
    found = [
        contexts_of(policy, [value > policy.threshold for value in document])
        for document in signals
    ]
    return [found] * q.shape[1]


def _by_diversity(q: Tensor, k: Tensor, policy: ContextPolicy) -> list[int]:
    """Of one head on one document: each segment's attention, as its context lets it, decides on the next."""
    n, expansions = len(q), list[bool]()
    for at in range(0, n - SEGMENT, SEGMENT):
        context = contexts_of(policy, expansions)[-1]
        start = max(0, at - context + 1)
        scores = q[at : at + SEGMENT] @ k[start : at + SEGMENT].T * q.shape[1] ** -0.5
        seen = band(SEGMENT, at - start, context, q.device)
        expansions.append(
            attention_bits(scores.float().masked_fill(~seen, -torch.inf).softmax(-1))
            > policy.threshold
        )
    return contexts_of(policy, expansions)


def adaptive_attention(
    q: Tensor, k: Tensor, v: Tensor, policy: ContextPolicy, documents: Documents, evidence: Evidence
) -> Tensor:
    """Causal attention of (N, heads, d_head) within documents."""
    contexts = attention_contexts(q, k, policy, documents, evidence)
    if evidence.seen is not None:
        evidence.seen.append((policy, contexts))
    if all(found == contexts[0] for found in contexts):
        return _segment_attention(q, k, v, documents, contexts[0])
    heads = (torch.split(x, 1, dim=1) for x in (q, k, v))
    by_head = zip(*heads, contexts, strict=True)
    return torch.cat(
        [_segment_attention(a, b, c, documents, found) for a, b, c, found in by_head], 1
    )


def _segment_attention(
    q: Tensor, k: Tensor, v: Tensor, documents: Documents, contexts: Sequence[list[int]]
) -> Tensor:
    """Attention of (N, heads, d_head) with one context for each document's segments, all heads alike.

    Segments of as many queries and keys, and one context, go together.
    """
    alike: dict[tuple[int, int, int], list[int]] = {}
    for start, n, found in zip(documents.bounds, documents.lengths, contexts, strict=False):
        for s, context in enumerate(found):
            at = s * SEGMENT
            before = min(at, context - 1)
            alike.setdefault((min(SEGMENT, n - at), before, context), []).append(start + at)
    parts, places = [], []
    for (n_queries, before, context), starts in alike.items():
        first = torch.tensor(starts, device=q.device)[:, None]
        rows = first + torch.arange(n_queries, device=q.device)
        keys = first - before + torch.arange(before + n_queries, device=q.device)
        seen = band(n_queries, before, context, q.device)
        out = F.scaled_dot_product_attention(
            q[rows].transpose(1, 2), k[keys].transpose(1, 2), v[keys].transpose(1, 2), seen
        )
        parts.append(out.transpose(1, 2).flatten(0, 1))
        places.append(rows.flatten())
    return torch.cat(parts)[torch.cat(places).argsort()]
