"""Counted memory: a text, and the tables that counting it gives.

The text is what is kept, moved and written (as in infini-gram, Liu et al. 2024): it is many times smaller than all that its
n-grams say, and a GPU counts it in less time than a disk reads the counts. It is counted when a table is first read, on the
device that the memory is then on.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.errors import DataError
from clso.grown.discounts import NGramTable, UnigramTable, kneser_ney
from clso.grown.log_bilinear import LogBilinear
from clso.grown.ngrams import count_ngrams, require_order
from clso.grown.pruning import Pruning, entropy_loss, kept_masks
from clso.grown.skips import SkipContext, SkipTable, count_skip

__all__ = ["CountedMemory", "as_text", "token_bytes"]


def token_bytes(vocab_size: int) -> int:
    """Bytes of a token of a text that is kept."""
    return 2 if vocab_size <= 1 << 16 else 4


def as_text(tokens: np.ndarray[Any, Any] | Tensor, vocab_size: int) -> Tensor:
    """Tokens as a memory keeps them: (n,) uint16 if the vocabulary is within 65,536, else int32."""
    narrow = np.uint16 if token_bytes(vocab_size) == 2 else np.int32
    return torch.from_numpy(np.asarray(tokens).astype(narrow))


@dataclass(frozen=True)
class CountedMemory:
    """A text, and how it is counted. `unigram`, `tables` and `skips` are made when they are first read.

    Attributes
    ----------
    text : (n,) tokens, `as_text`.
    order : of the longest n-grams.
    pruning : what of the counts becomes tables.
    contexts : the skip tables' contexts.
    classes : (V,) uint8 the tokens' classes, if contexts ask for them.
    bilinear : the expert that reads the last tokens together, if there is one.

    Raises `ConfigError` for an order that cannot be counted, `DataError` for a text that is not longer than it, or than the
    contexts.
    """

    text: Tensor
    vocab_size: int
    order: int
    pruning: Pruning = field(default_factory=Pruning)
    contexts: tuple[SkipContext, ...] = ()
    classes: Tensor | None = None
    bilinear: LogBilinear | None = None

    def __post_init__(self) -> None:
        require_order(self.order)
        if len(self.text) <= self.order:
            raise DataError(
                f"n-grams of order {self.order} are counted on {self.order + 1} tokens at least",
                got=len(self.text),
                remedy="Give a longer text, or a lower order.",
            )
        if (reach := max((c.lags[0] for c in self.contexts), default=0)) >= len(self.text):
            raise DataError(
                f"contexts of lag {reach} are counted on {reach + 1} tokens at least",
                got=len(self.text),
                remedy="Give a longer text.",
            )

    @cached_property
    def _counted(self) -> tuple[Tensor, UnigramTable, tuple[NGramTable, ...]]:
        counts = count_ngrams(self.text.long(), self.vocab_size, self.order)
        masks, how = None, self.pruning
        if how.drops:
            prunes = max(how.threshold) > 0
            costs = entropy_loss(counts, *kneser_ney(counts)) if prunes else ()
            masks = kept_masks(
                counts, self.order - 1, cut=how.cut, threshold=how.threshold, costs=costs
            )
        return counts.levels[0].count, *kneser_ney(counts, how.discount, masks)

    @property
    def count(self) -> Tensor:
        """Occurrences of each token: (V,) int64."""
        return self._counted[0]

    @property
    def unigram(self) -> UnigramTable:
        """Order 1."""
        return self._counted[1]

    @property
    def tables(self) -> tuple[NGramTable, ...]:
        """Orders 2, 3, ..."""
        return self._counted[2]

    @cached_property
    def skips(self) -> tuple[SkipTable, ...]:
        """The skip contexts' tables."""
        text, v, cut = self.text.long(), self.vocab_size, self.pruning.skip_cut
        return tuple(count_skip(text, v, c, self.classes).table(v, cut) for c in self.contexts)

    def skip_tables(self, n_skips: int, n_classed: int) -> list[SkipTable]:
        """The first tables of contexts of tokens alone, then those of contexts with classes."""
        plain = [s for s in self.skips if not s.context.classed]
        classed = [s for s in self.skips if s.context.classed]
        return [*plain[:n_skips], *classed[:n_classed]]

    @property
    def n_bytes(self) -> int:
        """Bytes of the text and of every table, as in memory while the model scores. On disk there is the text alone."""
        parts = [self.text, self.count, self.unigram.raw, self.unigram.continued]
        parts += [self.classes] if self.classes is not None else []
        own = sum(part.numel() * part.element_size() for part in parts)
        own += sum(table.n_bytes for table in self.tables)
        own += self.bilinear.n_bytes if self.bilinear else 0
        return own + sum(table.n_bytes for table in self.skips)

    @property
    def device(self) -> torch.device:
        return self.text.device

    def to(self, device: torch.device) -> CountedMemory:
        """The same text on a device, where it is counted anew."""
        if self.device == device:
            return self
        classes = self.classes.to(device) if self.classes is not None else None
        bilinear = self.bilinear.to(device) if self.bilinear else None
        return replace(self, text=self.text.to(device), classes=classes, bilinear=bilinear)
