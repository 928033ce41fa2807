"""What a memory model costs: the bytes of all its counts, exactly, without packing them."""

from __future__ import annotations

from functools import cached_property

import torch
from torch import Tensor

from clso.grown.counted_text import CountedText
from clso.grown.experts import Recipe
from clso.grown.packed import LARGE, last_bytes
from clso.search_spaces.gpt2.costs import FLOAT_BYTES
from clso.search_spaces.gpt2_memory.genes import Pruning, skip_contexts

__all__ = ["MemoryCosts"]

_LARGE_BYTES = FLOAT_BYTES  # an int32
_DISCOUNT_BYTES = 2 * 4 * 8
_WEIGHT_BYTES = 8
_LOOK_UP_FLOPS = 6  # a stage's multiplication and addition, and two for each of two orders' shares


class MemoryCosts:
    """`flops` (of one target, not of the whole vocabulary), `n_bytes`, `n_params` of memory and grown part.

    A parameter is a number that was counted: of an entry its count and its continuation count.
    """

    def __init__(self, text: CountedText) -> None:
        self.text = text
        self._orders: dict[tuple[int, tuple[int, ...], tuple[float, ...]], tuple[int, int]] = {}

    def __call__(
        self, recipe: Recipe, pruning: Pruning, grown: dict[str, float] | None
    ) -> dict[str, float]:
        n_weights = sum(recipe.sizes)
        entries, n_bytes = self._kept(recipe.order - 1, pruning)
        contexts = skip_contexts(recipe)
        skips = [self.text.counted_skip(own, pruning.skip_cut) for own in contexts]
        n_bytes += self.text.corpus.vocab_size if recipe.n_classed else 0
        n_bytes += self._unigram_bytes + _WEIGHT_BYTES * n_weights + sum(s.n_bytes for s in skips)
        n_params = 2 * self.text.corpus.vocab_size + 2 * entries + sum(len(s.count) for s in skips)
        own = {
            "flops": float(_LOOK_UP_FLOPS * len(recipe.stages)),
            "n_bytes": float(n_bytes),
            "n_params": float(n_params + n_weights),
        }
        return {name: own[name] + (grown[name] if grown else 0.0) for name in own}

    @cached_property
    def _unigram_bytes(self) -> int:
        first = self.text.counts.levels[0]
        large = int((first.count >= LARGE).sum()) + int((first.continuation >= LARGE).sum())
        return 2 * len(first) + _LARGE_BYTES * large + _DISCOUNT_BYTES

    @cached_property
    def _large(self) -> list[_LargeOfOrder]:
        """Of orders 2, 3, ... what does not fit a byte."""
        levels, v = self.text.counts.levels, self.text.corpus.vocab_size
        return [
            _LargeOfOrder(levels[k].keys // v, levels[k].count, levels[k].continuation, len(below))
            for k, below in enumerate(levels[:-1], 1)
        ]

    def _kept(self, n_tables: int, pruning: Pruning) -> tuple[int, int]:
        """Entries of orders 2, 3, ... that stay, and the bytes of these orders."""
        key = (n_tables, pruning.cut, pruning.threshold)
        if key not in self._orders:
            v = self.text.corpus.vocab_size
            pruned = max(pruning.cut) > 1 or max(pruning.threshold) > 0
            speaks, stays = self.text.masks(n_tables, pruning.cut, pruning.threshold)
            entries, n_bytes, n_contexts, below = 0, 0, v, None
            for k in range(n_tables):
                highest, n = k == n_tables - 1, int(stays[k].sum())
                numbers = (1 if highest else 2) * n + n_contexts  # counts, and sizes of contexts
                large = self._large[k].kept(speaks[k], stays[k], below, pruned, highest)
                n_bytes += numbers + _LARGE_BYTES * large + last_bytes(v) * n + _DISCOUNT_BYTES
                if pruned:  # totals, and a count class
                    n_bytes += (2 if highest else 3) * n_contexts
                entries, n_contexts, below = entries + n, n, stays[k]
            self._orders[key] = (entries, n_bytes)
        return self._orders[key]


class _LargeOfOrder:
    """Entries and contexts of one order that hold large numbers, before anything is pruned."""

    def __init__(self, context: Tensor, count: Tensor, continuation: Tensor, n: int) -> None:
        self.count = (count >= LARGE).nonzero()[:, 0]
        self.continuation = (continuation >= LARGE).nonzero()[:, 0]
        wide = torch.bincount(context, minlength=n) >= LARGE
        self.of_wide = wide[context].nonzero()[:, 0]  # entries of contexts with many
        self.wide = context[self.of_wide]
        totals = [
            torch.bincount(context, weights=c.double(), minlength=n) for c in (count, continuation)
        ]
        self.totals = [(t >= LARGE).nonzero()[:, 0] for t in totals]

    def kept(
        self, speaks: Tensor, stays: Tensor, below: Tensor | None, pruned: bool, highest: bool
    ) -> int:
        """How many of the large numbers stay; `below` says which contexts do (None for all)."""
        found = speaks[self.count].sum()
        if not highest:
            found = found + speaks[self.continuation].sum()
        sizes = torch.bincount(self.wide[stays[self.of_wide]])
        found = found + (sizes >= LARGE).sum()
        for totals in self.totals[: 1 if highest else 2] if pruned else ():
            found = found + (len(totals) if below is None else below[totals].sum())
        return int(found)
