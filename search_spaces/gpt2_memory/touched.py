"""The n-gram terms of fixed blocks under any discount, cut-off and threshold, without building tables.

Of each order only the contexts that the blocks touch are looked at: entries of all other contexts change nothing there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn.functional import pad

from clso.device import sent
from clso.grown.discounts import TYPE_CLASSES, NGramTable, context_ids
from clso.grown.experts import OrderTerms
from clso.grown.ngrams import NGramLevel, find_keys, look_up
from clso.grown.sums import run_sums, sums

__all__ = ["TouchedOrder", "touched_orders"]

_ELEMENTS = 1 << 26  # of entries in all ways of pruning that are computed together


@dataclass(frozen=True)
class TouchedOrder:
    """One order's entries in the contexts that blocks (N, T + 1) touch.

    The last entry and the last context are nobody's and hold nothing: place -1, what was never seen, finds them.

    Attributes
    ----------
    context, entry : (N, T) places among `of_context`'s contexts and among the entries.
    of_context : (e,) the context of each entry; there are `n_contexts`.
    counts : (2, e) int64, occurrences and continuation counts. cost : (e,) float64, what an entry's loss costs
        (`clso.grown.pruning.entropy_loss`).
    kind : (N, T) the context's count class.
    """

    context: Tensor
    entry: Tensor
    of_context: Tensor
    n_contexts: int
    counts: Tensor
    cost: Tensor
    kind: Tensor

    def terms(
        self, off: Tensor, cut: Sequence[int], threshold: Sequence[float]
    ) -> list[OrderTerms]:
        """In each of M ways: with discounts (M, 2, 4) of both counts, a least count and a least cost."""
        size = self._at_once
        ways = [slice(i, i + size) for i in range(0, len(cut), size)]
        return [t for at in ways for t in self._some_terms(off[at], cut[at], threshold[at])]

    def _some_terms(
        self, off: Tensor, cut: Sequence[int], threshold: Sequence[float]
    ) -> list[OrderTerms]:
        m, device = len(cut), off.device
        least, cost = (torch.tensor(v, dtype=torch.float64) for v in (cut, threshold))
        enough = self.counts[0] >= sent(least, device)[:, None]
        dear = self.cost >= sent(cost, device)[:, None]
        classes = self.counts.clamp(max=3).expand(m, -1, -1)
        left = (self.counts - off.gather(2, classes)).clamp_(min=0)
        share = left.div_(self._totals).mul_((enough & dear)[:, None])
        found = torch.cat([share[..., self.entry], self._sums(share)[..., self.context]], 1)
        return [OrderTerms(own, self.kind) for own in found]

    @property
    def _at_once(self) -> int:
        """How many ways are computed together. One on a CPU, which gains nothing by more."""
        return max(1, _ELEMENTS // self.counts.numel()) if self.counts.is_cuda else 1

    @cached_property
    def _totals(self) -> Tensor:
        """Of each entry's context (2, e), before anything is pruned."""
        return self._sums(self.counts)[:, self.of_context].clamp(min=1)

    @cached_property
    def _places(self) -> Tensor:
        """The context of each of the counts (2 e,)."""
        return torch.cat([self.of_context, self.of_context + self.n_contexts])

    @cached_property
    def _ends(self) -> Tensor:
        """Where the entries of each context end, whose entries lie one after the other."""
        every = torch.arange(self.n_contexts, device=self.of_context.device)
        return torch.searchsorted(self.of_context, every, right=True)

    def _sums(self, values: Tensor) -> Tensor:
        """By context: (..., 2, e) -> (..., 2, n_contexts)."""
        if values.is_cuda:
            return run_sums(values, self._ends)
        n, m = 2 * self.n_contexts, values[..., 0, 0].numel()
        places = self._places + n * torch.arange(m, device=values.device)[:, None]
        return sums(places.flatten(), values.flatten(), m * n).view(*values.shape[:-1], -1)


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
                pad(of_context, (0, 1), value=len(distinct)),
                len(distinct) + 1,
                pad(torch.stack([level.count[place], level.continuation[place]]), (0, 1)),
                pad(cost[place], (0, 1)),
                kind,
            )
        )
    return out
