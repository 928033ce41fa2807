"""What a memory model costs: every table's bytes, exactly, without building them."""

from __future__ import annotations

from clso.grown.counted_text import CountedText
from clso.grown.experts import Recipe
from clso.search_spaces.gpt2.costs import FLOAT_BYTES
from clso.search_spaces.gpt2_memory.genes import SKIP_LAGS, Pruning

__all__ = ["MemoryCosts"]

_ENTRY_BYTES = 8 + 2 * FLOAT_BYTES  # key, two shares
_CONTEXT_BYTES = 2 * FLOAT_BYTES + 1  # two masses, a count class
_UNIGRAM_BYTES = 3 * 8  # count, two probabilities
_WEIGHT_BYTES = 8
_LOOK_UP_FLOPS = 6  # a stage's multiplication and addition, and two for each of two orders' shares


class MemoryCosts:
    """`flops` (of one target, not of the whole vocabulary), `n_bytes`, `n_params` of memory and grown part."""

    def __init__(self, text: CountedText) -> None:
        self.text = text
        self._entries: dict[tuple[int, tuple[int, ...], tuple[float, ...]], tuple[int, ...]] = {}

    def __call__(
        self, recipe: Recipe, pruning: Pruning, grown: dict[str, float] | None
    ) -> dict[str, float]:
        v, n_weights = self.text.corpus.vocab_size, sum(recipe.sizes)
        entries = self._kept(recipe.order - 1, pruning)
        contexts = (v, *entries)[: len(entries)]
        skips = [self.text.skips(lags, pruning.skip_cut) for lags in SKIP_LAGS[: recipe.n_skips]]
        n_bytes = _UNIGRAM_BYTES * v + _WEIGHT_BYTES * n_weights + sum(s.n_bytes for s in skips)
        n_bytes += _ENTRY_BYTES * sum(entries) + _CONTEXT_BYTES * sum(contexts)
        n_params = 2 * v + 2 * sum(entries) + 2 * sum(contexts) + sum(len(s.share) for s in skips)
        own = {
            "flops": float(_LOOK_UP_FLOPS * len(recipe.stages)),
            "n_bytes": float(n_bytes),
            "n_params": float(n_params + n_weights),
        }
        return {name: own[name] + (grown[name] if grown else 0.0) for name in own}

    def _kept(self, n_tables: int, pruning: Pruning) -> tuple[int, ...]:
        """Entries of orders 2, 3, ... that stay."""
        key = (n_tables, pruning.cut, pruning.threshold)
        if key not in self._entries:
            _, stays = self.text.masks(n_tables, pruning.cut, pruning.threshold)
            self._entries[key] = tuple(int(s.sum()) for s in stays)
        return self._entries[key]
