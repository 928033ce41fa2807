"""Documents of different lengths in one row of tokens: where each lies, and which have one length.

Everything in a transformer but attention works on tokens alone, so that a batch of documents needs no padding. Attention
is dense where lengths are equal: documents are put in the order of their lengths once, before the first layer, and put back
after the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise

import torch
from torch import Tensor

from clso.ragged.offsets import check_offsets

__all__ = ["Documents", "Group"]


@dataclass(frozen=True)
class Group:
    """`n` documents of `length` tokens, one after the other from token `start` on."""

    start: int
    n: int
    length: int

    @property
    def stop(self) -> int:
        return self.start + self.n * self.length


class Documents:
    """The documents of a packed batch, sorted by length.

    Attributes:
        lengths: of the documents, rising.
        bounds: where each begins in the sorted row; one more entry is the end.
        positions: (N,) of each token of the sorted row in its document.
    """

    def __init__(
        self, offsets: Tensor, n_tokens: int, device: torch.device, longest: int | None = None
    ) -> None:
        """`offsets` (k + 1,) of the row as it is given. Raises `ShapeError` as `check_offsets` does."""
        given = check_offsets(offsets, n_tokens, longest)
        lengths = [b - a for a, b in pairwise(given)]
        order = sorted(range(len(lengths)), key=lengths.__getitem__)
        self.lengths = [lengths[i] for i in order]
        self.bounds = [0, *accumulate(self.lengths)]
        self.device = device
        self._sorted = order == list(range(len(order)))
        starts = torch.tensor([given[i] for i in order])
        counts = torch.tensor(self.lengths)
        positions = torch.arange(n_tokens) - torch.tensor(self.bounds[:-1]).repeat_interleave(
            counts
        )
        self._index = (starts.repeat_interleave(counts) + positions).to(device)
        self.positions = positions.to(device)

    def arrange(self, row: Tensor) -> Tensor:
        """A given row (N, ...) in the order of lengths."""
        return row if self._sorted else row[self._index]

    def restore(self, row: Tensor) -> Tensor:
        """The inverse of `arrange`."""
        if self._sorted:
            return row
        back = torch.empty_like(self._index)
        back[self._index] = torch.arange(len(back), device=self.device)
        return row[back]

    @cached_property
    def groups(self) -> list[Group]:
        """Runs of documents of one length, in order."""
        found: list[Group] = []
        for at, length in zip(self.bounds, self.lengths, strict=False):
            if found and found[-1].length == length:
                found[-1] = Group(found[-1].start, found[-1].n + 1, length)
            else:
                found.append(Group(at, 1, length))
        return found

    @cached_property
    def cumulative(self) -> Tensor:
        """`bounds` as int32 on the device, for kernels that read them."""
        return torch.tensor(self.bounds, dtype=torch.int32, device=self.device)
