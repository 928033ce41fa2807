"""Counted memory: everything that a text's n-grams say, as counts, and as the tables that they give.

It is kept, moved and written as counts (`clso.grown.packed`); tables are made when they are first read, on the device that
the memory is then on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from clso.grown.discounts import (
    NGramTable,
    UnigramTable,
    count_class,
    discounts,
    shares,
    unigram_shares,
)
from clso.grown.ngrams import NGramCounts
from clso.grown.packed import Children, SmallNumbers
from clso.grown.skips import CountedSkip, SkipTable
from clso.grown.sums import sums

__all__ = ["CountedMemory", "CountedOrder", "CountedUnigrams"]


@dataclass(frozen=True)
class CountedUnigrams:
    """Order 1: occurrences and continuation counts of each token, and their discounts (2, 4) float64."""

    count: SmallNumbers
    continuation: SmallNumbers
    discounts: Tensor

    @property
    def n_bytes(self) -> int:
        own = self.discounts.numel() * self.discounts.element_size()
        return self.count.n_bytes + self.continuation.n_bytes + own

    def to(self, device: torch.device) -> CountedUnigrams:
        return CountedUnigrams(
            self.count.to(device), self.continuation.to(device), self.discounts.to(device)
        )

    def table(self) -> UnigramTable:
        """The probabilities of order 1."""
        raw, continued = self.discounts
        return UnigramTable(
            unigram_shares(self.count.wide(), raw),
            unigram_shares(self.continuation.wide(), continued),
        )


@dataclass(frozen=True)
class CountedOrder:
    """One order k >= 2, pruned or not. Contexts are the places of the entries of order k - 1.

    Attributes
    ----------
    children : the entries' keys.
    count : the entries' occurrences; 0 for one that is only kept as a context of the next order.
    continuation : likewise, distinct tokens before them; None at a memory's highest order, where nothing asks.
    discounts : (2, 4) float64, what is taken off both.
    totals : of a pruned order each context's sums of both counts before pruning, for they divide.
    count_class : of a pruned order each context's class before pruning, (m,) uint8.
    """

    children: Children
    count: SmallNumbers
    continuation: SmallNumbers | None
    discounts: Tensor
    totals: tuple[SmallNumbers, ...] = ()
    count_class: Tensor | None = None

    @property
    def n_bytes(self) -> int:
        numbers = [self.count, *self.totals]
        numbers += [self.continuation] if self.continuation is not None else []
        own = self.discounts.numel() * self.discounts.element_size()
        own += self.count_class.numel() if self.count_class is not None else 0
        return own + self.children.n_bytes + sum(n.n_bytes for n in numbers)

    def to(self, device: torch.device) -> CountedOrder:
        return CountedOrder(
            self.children.to(device),
            self.count.to(device),
            self.continuation.to(device) if self.continuation is not None else None,
            self.discounts.to(device),
            tuple(t.to(device) for t in self.totals),
            self.count_class.to(device) if self.count_class is not None else None,
        )

    def table(self, vocab_size: int) -> NGramTable:
        """The shares. Raises `ValueError` if the parts do not belong together."""
        keys, n_contexts = self.children.keys(vocab_size), len(self.children.size)
        context, count = keys // vocab_size, self.count.wide()
        wide = [t.wide() for t in self.totals]
        total = wide[0] if wide else sums(context, count, n_contexts)
        raw = shares(context, count, total, self.discounts[0])
        continued = torch.zeros_like(raw)
        if self.continuation is not None:
            seen = self.continuation.wide()
            divisor = wide[1] if wide else sums(context, seen, n_contexts)
            continued = shares(context, seen, divisor, self.discounts[1])
        kind = self.count_class
        if kind is None:
            kind = count_class(total, sums(context, count > 0, n_contexts))
        mass = torch.stack([sums(context, s, n_contexts) for s in (raw, continued)], 1).float()
        kind = torch.where(mass[:, 0] > 0, kind, torch.zeros_like(kind))
        return NGramTable(keys, raw, continued, mass, kind)


@dataclass(frozen=True)
class CountedMemory:
    """Counts of one text. `unigram`, `tables` and `skips` are the tables that they give.

    `classes` (V,) uint8 are the tokens', if the contexts of `counted_skips` ask for them.
    """

    vocab_size: int
    unigrams: CountedUnigrams
    orders: tuple[CountedOrder, ...]
    counted_skips: tuple[CountedSkip, ...] = ()
    classes: Tensor | None = None

    @classmethod
    def of(
        cls,
        counts: NGramCounts,
        *,
        order: int,
        discount: float = 1.0,
        masks: tuple[Sequence[Tensor], Sequence[Tensor]] | None = None,
        skips: tuple[CountedSkip, ...] = (),
        classes: Tensor | None = None,
    ) -> CountedMemory:
        """Of a text's counts up to `order`; discounts are the estimates times `discount`.

        masks : `clso.grown.pruning.kept_masks`; None keeps everything.
        """
        first, n_tables = counts.levels[0], min(order, counts.order) - 1
        continuation = first.continuation if counts.order > 1 else first.count
        unigrams = CountedUnigrams(
            SmallNumbers.of(first.count),
            SmallNumbers.of(continuation),
            _discounts(first.count, continuation, discount),
        )
        orders = tuple(
            _counted_order(counts, k, discount, masks, highest=k == n_tables - 1)
            for k in range(n_tables)
        )
        return cls(counts.vocab_size, unigrams, orders, skips, classes)

    @property
    def order(self) -> int:
        return 1 + len(self.orders)

    @property
    def n_bytes(self) -> int:
        """Bytes of all counts, as in memory and on disk before a table is read."""
        own = self.classes.numel() if self.classes is not None else 0
        own += self.unigrams.n_bytes + sum(order.n_bytes for order in self.orders)
        return own + sum(skip.n_bytes for skip in self.counted_skips)

    @cached_property
    def count(self) -> Tensor:
        """Occurrences of each token: (V,) int64."""
        return self.unigrams.count.wide()

    @cached_property
    def unigram(self) -> UnigramTable:
        """Order 1."""
        return self.unigrams.table()

    @cached_property
    def tables(self) -> tuple[NGramTable, ...]:
        """Orders 2, 3, ..."""
        return tuple(o.table(self.vocab_size) for o in self.orders)

    @cached_property
    def skips(self) -> tuple[SkipTable, ...]:
        """The skip contexts' tables."""
        return tuple(s.table(self.vocab_size) for s in self.counted_skips)

    def skip_tables(self, n_skips: int, n_classed: int) -> list[SkipTable]:
        """The first tables of contexts of tokens alone, then those of contexts with classes."""
        plain = [s for s in self.skips if not s.context.classed]
        classed = [s for s in self.skips if s.context.classed]
        return [*plain[:n_skips], *classed[:n_classed]]

    @property
    def device(self) -> torch.device:
        return self.unigrams.discounts.device

    def to(self, device: torch.device) -> CountedMemory:
        """The same counts on a device."""
        if self.device == device:
            return self
        return CountedMemory(
            self.vocab_size,
            self.unigrams.to(device),
            tuple(o.to(device) for o in self.orders),
            tuple(s.to(device) for s in self.counted_skips),
            self.classes.to(device) if self.classes is not None else None,
        )


def _counted_order(
    counts: NGramCounts,
    k: int,
    discount: float,
    masks: tuple[Sequence[Tensor], Sequence[Tensor]] | None,
    *,
    highest: bool,
) -> CountedOrder:
    """The entries of order k + 2 that stay."""
    v, below, level = counts.vocab_size, counts.levels[k], counts.levels[k + 1]
    off = _discounts(level.count, level.continuation, discount)
    if masks is None:
        continued = None if highest else SmallNumbers.of(level.continuation)
        children = Children.of(level.keys, len(below), v)
        return CountedOrder(children, SmallNumbers.of(level.count), continued, off)
    speaks, stays = masks[0][k], masks[1][k]
    context, n = level.keys // v, len(below)
    totals = [sums(context, level.count, n)]
    totals += [] if highest else [sums(context, level.continuation, n)]
    kind = count_class(totals[0], sums(context, level.count > 0, n))
    own = context[stays]
    if k:  # order 1 keeps all of its tokens
        kept = masks[1][k - 1]
        own = (torch.cumsum(kept, 0) - 1)[own]
        totals, kind = [t[kept] for t in totals], kind[kept]
    heard = speaks[stays]
    continuation = SmallNumbers.of(level.continuation[stays] * heard)
    return CountedOrder(
        Children.of(own * v + level.keys[stays] % v, len(kind), v),
        SmallNumbers.of(level.count[stays] * heard),
        None if highest else continuation,
        off,
        tuple(SmallNumbers.of(t.long()) for t in totals),
        kind,
    )


def _discounts(count: Tensor, continuation: Tensor, scale: float) -> Tensor:
    return torch.stack([discounts(count, scale), discounts(continuation, scale)])
