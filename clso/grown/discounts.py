"""Interpolated modified Kneser-Ney (Chen and Goodman 1998) as tables that a model looks things up in.

For a context h seen T times, of the k - 1 tokens before a token w,

    p_k(w | h) = share(w | h) + escape(h) p_{k-1}(w | shorter h),     share = max(c - D(c), 0) / T

with c the occurrences of h w at the order that a context is looked up at ("raw"), and the distinct tokens before h w
at all lower ones ("continued"). An order whose context was never seen passes on what the order below says.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor

from clso.device import sent
from clso.grown.ngrams import NGramCounts, find_keys
from clso.grown.sums import sums

__all__ = [
    "CONTEXT_BYTES",
    "COUNT_CLASSES",
    "ENTRY_BYTES",
    "TYPE_CLASSES",
    "NGramTable",
    "UnigramTable",
    "context_ids",
    "count_class",
    "discounts",
    "kneser_ney",
    "shares",
    "unigram_shares",
    "unigram_table",
]

_TOTAL_CLASSES, TYPE_CLASSES = 11, 9
COUNT_CLASSES = _TOTAL_CLASSES * TYPE_CLASSES
"""Classes of contexts by how often they were seen and how many tokens followed."""
ENTRY_BYTES, CONTEXT_BYTES = 16, 9
"""Of an `NGramTable`."""


@dataclass(frozen=True)
class UnigramTable:
    """Order 1: `raw` and `continued` are probabilities (V,) float64 that sum to 1."""

    raw: Tensor
    continued: Tensor


@dataclass(frozen=True)
class NGramTable:
    """One order k >= 2. Contexts are the ids of order k - 1.

    Attributes
    ----------
    keys : (n,) int64, sorted: context id x vocabulary + last token.
    raw, continued : (n,) float32 shares; 0 for an entry that is only kept as a context of the next order.
    mass : (m, 2) float32, a context's sum of shares, raw and continued; its escape is 1 less that. 0 if it has nothing.
    count_class : (m,) uint8 below `COUNT_CLASSES`; 0 for a context that has nothing.
    """

    keys: Tensor
    raw: Tensor
    continued: Tensor
    mass: Tensor
    count_class: Tensor

    @property
    def n_bytes(self) -> int:
        return ENTRY_BYTES * len(self.keys) + CONTEXT_BYTES * len(self.mass)


def discounts(counts_of_counts: Sequence[int], scale: float = 1.0) -> Tensor:
    """What is taken off counts of 0, 1, 2 and 3 or more: (4,) float64, by Chen and Goodman's estimate times `scale`.

    counts_of_counts : how many counts are 1, 2, 3 and 4.
    """
    n = [c + 1e-9 for c in counts_of_counts]
    y = n[0] / (n[0] + 2 * n[1])
    estimate = [i - (i + 1) * y * n[i] / n[i - 1] for i in (1, 2, 3)]
    most = (0.95, 1.95, 2.95)
    limited = [min(max(e * scale, 0.05), m) for e, m in zip(estimate, most, strict=True)]
    return torch.tensor([0.0, *limited], dtype=torch.float64)


def count_class(total: Tensor, types: Tensor) -> Tensor:
    """Classes of contexts seen `total` times before `types` distinct tokens: uint8, by powers of two; 0 if never seen."""
    a = torch.log2(1 + total.double()).ceil().clamp(max=_TOTAL_CLASSES - 1)
    b = torch.log2(1 + types.double()).ceil().clamp(max=TYPE_CLASSES - 1)
    return (a * TYPE_CLASSES + b).to(torch.uint8)


def kneser_ney(
    counts: NGramCounts,
    scale: float = 1.0,
    masks: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
) -> tuple[UnigramTable, tuple[NGramTable, ...]]:
    """Tables of orders 1 to `counts.order`; discounts are the estimates times `scale`.

    masks : which entries have a share, and which stay (`clso.grown.pruning.kept_masks`); None keeps everything. What goes
        changes neither discounts nor totals nor classes.
    """
    v, tables = counts.vocab_size, []
    for k, (below, level) in enumerate(pairwise(counts.levels)):
        keys, context, n = level.keys, level.keys // counts.vocab_size, len(below)
        total, continued = (sums(context, c, n) for c in (level.count, level.continuation))
        off = [sent(discounts(n, scale), keys.device) for n in level.counts_of_counts]
        both = [
            shares(context, level.count, total, off[0]),
            shares(context, level.continuation, continued, off[1]),
        ]
        kind = count_class(total, sums(context, level.count > 0, n))
        if masks is not None:
            speaks, stays = masks[0][k], masks[1][k]
            both = [(share * speaks)[stays] for share in both]
            context, last = context[stays], (keys % v)[stays]
            if k:  # order 1 keeps all of its tokens
                kept = masks[1][k - 1]
                context, kind = (torch.cumsum(kept, 0) - 1)[context], kind[kept]
            keys, n = context * v + last, len(kind)
        mass = torch.stack([sums(context, share, n) for share in both], 1).float()
        kind = torch.where(mass[:, 0] > 0, kind, torch.zeros_like(kind))
        tables.append(NGramTable(keys, both[0], both[1], mass, kind))
    return unigram_table(counts, scale), tuple(tables)


def unigram_table(counts: NGramCounts, scale: float = 1.0) -> UnigramTable:
    """Order 1, what the discounts take spread evenly over the vocabulary."""
    first = counts.levels[0]
    off = [sent(discounts(n, scale), first.count.device) for n in first.counts_of_counts]
    raw = unigram_shares(first.count, off[0])
    continued = unigram_shares(first.continuation, off[1]) if counts.order > 1 else raw
    return UnigramTable(raw, continued)


def unigram_shares(count: Tensor, off: Tensor) -> Tensor:
    """Probabilities (V,) float64 of tokens seen `count` times, less the discounts `off` (4,)."""
    kept = (count - off[count.clamp(max=3)]).clamp(min=0) / count.sum()
    return kept + (1 - kept.sum()) / len(count)


def shares(context: Tensor, count: Tensor, total: Tensor, off: Tensor) -> Tensor:
    """Shares (n,) float32 of entries seen `count` times, of their contexts' totals (m,), less the discounts `off` (4,)."""
    kept = (count - off[count.clamp(max=3)]).clamp(min=0)
    return (kept / total[context].clamp(min=1)).float()


def context_ids(tables: Sequence[NGramTable], tokens: Tensor, vocab_size: int) -> list[Tensor]:
    """Ids of the 1, 2, ... tokens that end at each position: `len(tables)` times (..., T) int64, -1 if never seen.

    tokens : (..., T). Contexts never reach beyond the block.
    """
    out = [tokens.long()] if tables else []
    for table in tables[:-1]:
        key = out[-1][..., :-1] * vocab_size + tokens[..., 1:]
        out.append(torch.nn.functional.pad(find_keys(table.keys, key), (1, 0), value=-1))
    return out
