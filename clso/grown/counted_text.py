"""The counts of one text, kept on disk by the text's hash.

A text is counted once: the run that counts pays for it, later ones read. What is read is checked against its SHA-256, and
counted anew if it differs. Only a CPU's counts are kept: a GPU counts in less time than a disk reads.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clso.data.cache import cache_root, warn_of_damage
from clso.disk.tensors import load_checked, write_checked
from clso.errors import DataError
from clso.grown.counted import tokens_on
from clso.grown.discounts import NGramTable, UnigramTable, kneser_ney, unigram_table
from clso.grown.ngrams import NGramCounts, NGramLevel, count_ngrams
from clso.grown.pruning import entropy_loss, kept_masks
from clso.grown.skips import SkipContext, SkipCounts, SkipTable, count_skip

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["CountedText"]

_VERSION = 1  # of what is counted and of the file


class CountedText:
    """One split of a corpus, counted to `order` on `device`; a text shorter than that, as far as it goes.

    `classes` gives the tokens' classes (V,) when a context first asks for them. Raises `DataError` for a text of fewer than
    3 tokens.
    """

    def __init__(
        self,
        corpus: Corpus,
        split: str,
        order: int,
        device: torch.device,
        cache_dir: Path | None = None,
        classes: Callable[[], Tensor] | None = None,
    ) -> None:
        self.corpus, self.split, self.device = corpus, split, device
        self._classes_of = classes
        n_tokens = len(corpus.tokens(split))
        if n_tokens < 3:
            raise DataError(
                "n-grams are counted on 3 tokens at least",
                got=n_tokens,
                remedy="Give a longer text.",
            )
        self.order = min(order, n_tokens - 1)
        self._cache = None
        if device.type == "cpu":
            name = f"{corpus.content_hash[:32]}-{split}-ngrams{self.order}-v{_VERSION}.safetensors"
            self._cache = cache_root(cache_dir) / "statistics" / name
        self._skip_counts: dict[SkipContext, SkipCounts] = {}
        self._skips: dict[tuple[SkipContext, int], SkipTable] = {}
        self._unigrams: dict[float, UnigramTable] = {}
        self._tables: dict[float, tuple[UnigramTable, tuple[NGramTable, ...]]] = {}

    @cached_property
    def tokens(self) -> Tensor:
        """The text (n,) int64."""
        return tokens_on(self.corpus, self.split, self.device)

    @cached_property
    def counts(self) -> NGramCounts:
        """The n-grams of all orders."""
        v = self.corpus.vocab_size
        if self._cache is not None and (found := _read(self._cache, v, len(self.tokens))):
            return found
        counts = count_ngrams(self.tokens, v, self.order)
        if self._cache is not None:
            _write(self._cache, counts)
        return counts

    @cached_property
    def costs(self) -> tuple[Tensor, ...]:
        """What the loss of each entry costs, by order from 2, under the estimated discounts."""
        return entropy_loss(self.counts, *self.tables(1.0))

    def tables(self, discount: float) -> tuple[UnigramTable, tuple[NGramTable, ...]]:
        """Unpruned tables with discounts of this multiple of the estimates; the last one is kept."""
        if discount not in self._tables:
            self._tables = {discount: kneser_ney(self.counts, discount)}
        return self._tables[discount]

    def unigram(self, discount: float) -> UnigramTable:
        """Order 1 under this multiple of the estimated discounts."""
        if discount not in self._unigrams:
            self._unigrams[discount] = unigram_table(self.counts, discount)
        return self._unigrams[discount]

    @cached_property
    def classes(self) -> Tensor | None:
        """The tokens' classes (V,), if the text has any."""
        return None if self._classes_of is None else self._classes_of()

    def skips(self, context: SkipContext, cut: int = 1) -> SkipTable:
        """The table of a skip context, without followers seen fewer than `cut` times."""
        v = self.corpus.vocab_size
        if context not in self._skip_counts:
            classes = self.classes if context.classed else None
            self._skip_counts[context] = count_skip(self.tokens, v, context, classes)
        if (context, cut) not in self._skips:
            self._skips[context, cut] = self._skip_counts[context].table(v, cut)
        return self._skips[context, cut]

    def masks(
        self, n_tables: int, cut: tuple[int, ...], threshold: tuple[float, ...]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """`kept_masks` of the first tables."""
        costs = self.costs if max(threshold) > 0 else ()
        return kept_masks(self.counts, n_tables, cut=cut, threshold=threshold, costs=costs)


def _read(path: Path, vocab_size: int, n_tokens: int) -> NGramCounts | None:
    """The counts in a file; None if there is none or, with a warning, a damaged one. It is then written anew."""
    try:
        tensors = load_checked(path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        warn_of_damage(path)
        return None
    levels = tuple(
        NGramLevel(
            tensors[f"{k}.keys"], tensors[f"{k}.count"].long(), tensors[f"{k}.continuation"].long()
        )
        for k in range(1, len(tensors) // 3 + 1)
    )
    return NGramCounts(vocab_size, n_tokens, levels)


def _write(path: Path, counts: NGramCounts) -> None:
    """Write atomically; several processes may do so at once. A cache that cannot be written is done without."""
    tensors: dict[str, Tensor] = {}
    for k, level in enumerate(counts.levels, 1):
        tensors[f"{k}.keys"] = level.keys
        tensors[f"{k}.count"] = level.count.int()
        tensors[f"{k}.continuation"] = level.continuation.int()
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_checked(tensors, path)
