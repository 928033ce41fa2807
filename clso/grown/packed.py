"""Sorted keys and counts in few bytes: what a counted memory is on disk and until it is first read.

A table's keys are stored as the number of entries of each context and the last token of each entry, counts as a byte each.
Nothing is compressed: a GPU or NumPy widens a hundred megabytes in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import DataError

__all__ = ["LARGE", "Children", "SmallNumbers", "last_bytes"]

LARGE = 255
"""Numbers from here on stand apart."""


@dataclass(frozen=True)
class SmallNumbers:
    """Natural numbers below 2^31.

    Attributes
    ----------
    low : (n,) uint8, the number, or 255 for one that is not below.
    large : int32, the numbers of 255 and more, in order.
    """

    low: Tensor
    large: Tensor

    @classmethod
    def of(cls, values: Tensor) -> SmallNumbers:
        """Of (n,) integers."""
        large = values[values >= LARGE]
        return cls(values.clamp(max=LARGE).to(torch.uint8), large.int())

    def __len__(self) -> int:
        return len(self.low)

    @property
    def n_bytes(self) -> int:
        return self.low.numel() + 4 * self.large.numel()

    def wide(self) -> Tensor:
        """The numbers (n,) int64. Raises `ValueError` if some that stand apart are missing."""
        out = self.low.long()
        if len(self.large):
            out[self.low == LARGE] = self.large.long()
        elif bool((self.low == LARGE).any()):
            raise ValueError("large counts are missing")
        return out

    def to(self, device: torch.device) -> SmallNumbers:
        return SmallNumbers(self.low.to(device), self.large.to(device))


@dataclass(frozen=True)
class Children:
    """The sorted keys `context * vocab_size + last` of one table.

    Attributes
    ----------
    size : how many entries each context has.
    last : (n,) uint16 if the vocabulary is within 65,536, else int32: their last tokens, context after context.
    """

    size: SmallNumbers
    last: Tensor

    @classmethod
    def of(cls, keys: Tensor, n_contexts: int, vocab_size: int) -> Children:
        """Of sorted keys (n,) int64, whose contexts are below `n_contexts`."""
        size = torch.bincount(keys // vocab_size, minlength=n_contexts)
        kind = torch.uint16 if last_bytes(vocab_size) == 2 else torch.int32
        return cls(SmallNumbers.of(size), (keys % vocab_size).to(kind))

    def __len__(self) -> int:
        return len(self.last)

    @property
    def n_bytes(self) -> int:
        return self.size.n_bytes + self.last.numel() * self.last.element_size()

    def contexts(self) -> Tensor:
        """Each entry's context (n,) int64."""
        size = self.size.wide()
        context = torch.arange(len(size), device=size.device)
        return torch.repeat_interleave(context, size, output_size=len(self.last))

    def keys(self, vocab_size: int) -> Tensor:
        """The keys (n,) int64. Raises `ValueError` if sizes and tokens do not belong together."""
        if int(self.size.wide().sum()) != len(self.last):
            raise ValueError("sizes of other entries")
        return self.contexts() * vocab_size + self.last.long()

    def to(self, device: torch.device) -> Children:
        return Children(self.size.to(device), self.last.to(device))


def last_bytes(vocab_size: int) -> int:
    """Bytes of a token. Raises `DataError` for a vocabulary that 4 do not hold."""
    if vocab_size >= 1 << 31:
        raise DataError("a vocabulary is below 2^31 tokens", got=vocab_size)
    return 2 if vocab_size <= 1 << 16 else 4
