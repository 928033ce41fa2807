"""What a memory model costs: the bytes of its text and of all its tables, exactly, without making them."""

from __future__ import annotations

from clso.grown.counted_memory import token_bytes
from clso.grown.counted_text import CountedText
from clso.grown.discounts import CONTEXT_BYTES, ENTRY_BYTES
from clso.grown.log_bilinear import LogBilinear
from clso.grown.pruning import Pruning
from clso.grown.recipes import Recipe
from clso.grown.usual import skip_contexts

__all__ = ["MemoryCosts"]

_UNIGRAM_BYTES, _WEIGHT_BYTES = 3 * 8, 8
_LOOK_UP_FLOPS = 6  # a stage's multiplication and addition, and two for each of two orders' shares


class MemoryCosts:
    """`flops` (of one target, not of the whole vocabulary), `n_bytes`, `n_params` of memory and grown part.

    A parameter is a number that was counted: of an entry its count and its continuation count.
    """

    def __init__(self, text: CountedText, bilinear: LogBilinear | None = None) -> None:
        self.text, self.bilinear = text, bilinear
        self._orders: dict[tuple[int, tuple[int, ...], tuple[float, ...]], tuple[int, int]] = {}

    def __call__(
        self, recipe: Recipe, pruning: Pruning, grown: dict[str, float] | None
    ) -> dict[str, float]:
        n_weights, v = sum(recipe.sizes), self.text.corpus.vocab_size
        entries, n_bytes = self._kept(recipe.order - 1, pruning)
        skips = [self.text.skips(own, pruning.skip_cut) for own in skip_contexts(recipe)]
        n_bytes += token_bytes(v) * len(self.text.tokens) + _UNIGRAM_BYTES * v
        n_bytes += (v if recipe.n_classed else 0) + sum(skip.n_bytes for skip in skips)
        n_bytes += _WEIGHT_BYTES * n_weights
        n_params = 2 * v + 2 * entries + sum(len(skip.keys) for skip in skips)
        flops = _LOOK_UP_FLOPS * len(recipe.stages)
        if self.bilinear is not None:
            numbers = self.bilinear.head.numel() + self.bilinear.maps.numel()
            n_bytes += self.bilinear.n_bytes
            n_params += numbers + self.bilinear.context.numel()
            flops += 2 * numbers
        own = {
            "flops": float(flops),
            "n_bytes": float(n_bytes),
            "n_params": float(n_params + n_weights),
        }
        return {name: own[name] + (grown[name] if grown else 0.0) for name in own}

    def _kept(self, n_tables: int, pruning: Pruning) -> tuple[int, int]:
        """Entries of orders 2, 3, ... that stay, and the bytes of these orders."""
        key = (n_tables, pruning.cut, pruning.threshold)
        if key not in self._orders:
            _, stays = self.text.masks(n_tables, pruning.cut, pruning.threshold)
            sizes = [int(kept.sum()) for kept in stays]
            contexts = [self.text.corpus.vocab_size, *sizes][:n_tables]
            n_bytes = ENTRY_BYTES * sum(sizes) + CONTEXT_BYTES * sum(contexts)
            self._orders[key] = (sum(sizes), n_bytes)
        return self._orders[key]
