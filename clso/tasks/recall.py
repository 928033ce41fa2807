"""Copying and associative recall: what a model can hold and find again. A language model answers
with tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import ClassVar

from clso.tasks.generated import GeneratedOptions, GeneratedTask, ask

__all__ = ["AssociativeRecall", "Copy"]


@dataclass(frozen=True)
class _CopyOptions(GeneratedOptions):
    n_symbols: int = 8
    """Different symbols."""
    min_length: int = 4
    """Symbols of the shortest sequence."""
    max_length: int = 16
    """Symbols of the longest sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("n_symbols", 2)
        self.at_least("min_length", 1)
        self.at_least("max_length", self.min_length)


class Copy(GeneratedTask):
    """Repeat a sequence of symbols after a mark (Graves et al. 2014, arXiv:1410.5401)."""

    name = "copy"
    Options: ClassVar[type] = _CopyOptions
    lengths = ("min_length", "max_length")
    options: _CopyOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        return ("<pad>", *(f"s{i}" for i in range(self.options.n_symbols)), "<copy>")

    @property
    def n_positions(self) -> int:
        return 2 * self.options.max_length

    def _draw(self, rng: random.Random) -> tuple[list[int], list[int]]:
        o = self.options
        symbols = [
            rng.randint(1, o.n_symbols) for _ in range(rng.randint(o.min_length, o.max_length))
        ]
        return ask([*symbols, o.n_symbols + 1, *symbols], len(symbols) + 1)


@dataclass(frozen=True)
class _RecallOptions(GeneratedOptions):
    n_keys: int = 16
    """Different keys."""
    n_values: int = 16
    """Different values."""
    min_pairs: int = 2
    """Fewest pairs of a sequence."""
    max_pairs: int = 8
    """Most pairs of a sequence."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.at_least("min_pairs", 1)
        self.at_least("max_pairs", self.min_pairs)
        self.at_least("n_keys", self.max_pairs)
        self.at_least("n_values", 2)


class AssociativeRecall(GeneratedTask):
    """Pairs of a key and a value, then one of the keys: which value was its (Ba et al. 2016,
    arXiv:1610.06258)."""

    name = "associative-recall"
    Options: ClassVar[type] = _RecallOptions
    lengths = ("min_pairs", "max_pairs")
    options: _RecallOptions

    @property
    def vocab(self) -> tuple[str, ...]:
        o = self.options
        return ("<pad>", *(f"k{i}" for i in range(o.n_keys)), *(f"v{i}" for i in range(o.n_values)))

    @property
    def n_positions(self) -> int:
        return 2 * self.options.max_pairs + 1

    def _draw(self, rng: random.Random) -> tuple[list[int], list[int]]:
        o = self.options
        keys = rng.sample(range(1, o.n_keys + 1), rng.randint(o.min_pairs, o.max_pairs))
        values = [o.n_keys + rng.randint(1, o.n_values) for _ in keys]
        asked = rng.randrange(len(keys))
        pairs = [token for pair in zip(keys, values, strict=True) for token in pair]
        return ask([*pairs, keys[asked], values[asked]], len(pairs) + 1)
