"""The n-gram terms of fixed blocks under any discount, cut-off and threshold, without building tables.

Of each order only the contexts that the blocks touch are looked at: entries of all other contexts change nothing there.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.grown.discounts import TYPE_CLASSES, NGramTable, context_ids
from clso.grown.experts import OrderTerms
from clso.grown.ngrams import NGramLevel, find_keys, look_up
from clso.grown.sums import sums

__all__ = ["TouchedOrder", "touched_orders"]


@dataclass(frozen=True)
class TouchedOrder:
    """One order's entries in the contexts that blocks (N, T + 1) touch.

    Attributes
    ----------
    context, entry : (N, T) places among `of_context`'s contexts and among the entries, -1 if never seen.
    of_context : (e,) the context of each entry; there are `n_contexts`.
    count, continuation : (e,) int64. cost : (e,) float64, what its loss costs (`clso.grown.pruning.entropy_loss`).
    kind : (N, T) the context's count class.
    """

    context: Tensor
    entry: Tensor
    of_context: Tensor
    n_contexts: int
    count: Tensor
    continuation: Tensor
    cost: Tensor
    kind: Tensor

    def terms(
        self, raw_off: Tensor, continued_off: Tensor, cut: int, threshold: float
    ) -> OrderTerms:
        """With discounts (4,) of counts and of continuation counts, a least count and a least cost."""
        kept = (self.count >= cut) & (self.cost >= threshold)
        raw = self._shares(self.count, raw_off, kept)
        continued = self._shares(self.continuation, continued_off, kept)
        raw_mass, continued_mass = self._sums(raw), self._sums(continued)
        return OrderTerms(
            look_up(raw, self.entry, 0.0),
            look_up(continued, self.entry, 0.0),
            look_up(raw_mass, self.context, 0.0),
            look_up(continued_mass, self.context, 0.0),
            self.kind,
        )

    def _sums(self, values: Tensor) -> Tensor:
        return sums(self.of_context, values, self.n_contexts)

    def _shares(self, count: Tensor, off: Tensor, kept: Tensor) -> Tensor:
        total = self._sums(count)[self.of_context].clamp(min=1)
        return (count - off[count.clamp(max=3)]).clamp(min=0) / total * kept


def touched_orders(
    tables: tuple[NGramTable, ...],
    levels: tuple[NGramLevel, ...],
    costs: tuple[Tensor, ...],
    blocks: Tensor,
    vocab_size: int,
) -> list[TouchedOrder]:
    """Of orders 2, 3, ...: `tables` unpruned, `levels` and `costs` likewise from order 2."""
    tokens, targets = blocks[:, :-1].contiguous(), blocks[:, 1:].contiguous()
    out = []
    contexts = context_ids(tables, tokens, vocab_size)
    for table, level, cost, context in zip(tables, levels, costs, contexts, strict=True):
        distinct = torch.unique(context[context >= 0])
        edges = torch.stack([distinct, distinct + 1]) * vocab_size
        begin, end = torch.searchsorted(table.keys, edges)
        size = end - begin
        # The entries of all touched contexts, one context after the other.
        of_context = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        offset = torch.cumsum(size, 0) - size
        within = torch.arange(len(of_context), device=size.device) - offset[of_context]
        place = begin[of_context] + within
        entry = find_keys(table.keys, torch.where(context >= 0, context * vocab_size + targets, -1))
        local = find_keys(distinct, context)
        moved = entry - look_up(begin, local, 0) + look_up(offset, local, 0)
        kind = look_up(table.count_class, context, 0).long()
        out.append(
            TouchedOrder(
                torch.where(kind >= TYPE_CLASSES, local, -1),
                torch.where(entry >= 0, moved, -1),
                of_context,
                len(distinct),
                level.count[place],
                level.continuation[place],
                cost[place],
                kind,
            )
        )
    return out
