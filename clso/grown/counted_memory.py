"""Counted memory: everything that a text's n-grams say, as tables."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from clso.grown.discounts import NGramTable, UnigramTable
from clso.grown.skips import SkipTable

__all__ = ["CountedMemory"]


@dataclass(frozen=True)
class CountedMemory:
    """Tables of one text.

    Attributes
    ----------
    count : (V,) int64, occurrences of each token.
    unigram, tables : Kneser-Ney tables of order 1 and of orders 2, 3, ...
    skips : tables of skip contexts.
    """

    vocab_size: int
    count: Tensor
    unigram: UnigramTable
    tables: tuple[NGramTable, ...]
    skips: tuple[SkipTable, ...]

    @property
    def order(self) -> int:
        return 1 + len(self.tables)

    @property
    def n_bytes(self) -> int:
        """Bytes of every table."""
        flat = (self.count, self.unigram.raw, self.unigram.continued)
        own = sum(t.numel() * t.element_size() for t in flat)
        return own + sum(t.n_bytes for t in self.tables) + sum(s.n_bytes for s in self.skips)

    def to(self, device: torch.device) -> CountedMemory:
        """The same tables on a device."""
        if self.count.device == device:
            return self
        return CountedMemory(
            self.vocab_size,
            self.count.to(device),
            _moved(self.unigram, device),
            tuple(_moved(t, device) for t in self.tables),
            tuple(_moved(s, device) for s in self.skips),
        )


_Table = TypeVar("_Table", UnigramTable, NGramTable, SkipTable)


def _moved(table: _Table, device: torch.device) -> _Table:
    changes: dict[str, Any] = {}
    for field in fields(table):
        value = getattr(table, field.name)
        if isinstance(value, Tensor):
            changes[field.name] = value.to(device)
        elif field.name == "inner":
            changes[field.name] = tuple(t.to(device) for t in value)
    return replace(table, **changes)
