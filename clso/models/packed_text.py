"""A text as documents, never joined and never padded: what models over documents are measured on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.errors import DataError

__all__ = ["PackedText", "packed_text"]

_TOKENS_AT_ONCE = (
    1 << 13
)  # fixed, so that a candidate's loss is the same to the last bit in any company


@dataclass(frozen=True)
class PackedText:
    """Documents in one row: `tokens` (N,) that are read, `targets` (N,) that follow them, `offsets` (documents + 1,)."""

    tokens: Tensor
    targets: Tensor
    offsets: Tensor

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def n_targets(self) -> int:
        return len(self.targets)

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    def to(self, device: torch.device | str) -> PackedText:
        """The same text there; offsets stay on the CPU, where they are read."""
        return PackedText(self.tokens.to(device), self.targets.to(device), self.offsets)

    def batches(self, n_tokens: int = _TOKENS_AT_ONCE) -> Iterator[PackedText]:
        """The documents in turn, about `n_tokens` at a time, one at least."""
        bounds = self.offsets.tolist()
        first = 0
        for last in range(1, len(bounds)):
            if last == len(bounds) - 1 or bounds[last + 1] - bounds[first] > n_tokens:
                at = slice(bounds[first], bounds[last])
                yield PackedText(
                    self.tokens[at],
                    self.targets[at],
                    self.offsets[first : last + 1] - bounds[first],
                )
                first = last


def packed_text(
    tokens: np.ndarray[Any, Any], lengths: Sequence[int], longest: int, n_tokens: int | None = None
) -> PackedText:
    """`tokens` cut at the ends of documents of `lengths`, and those into pieces of at most `longest`.

    Pieces of a document share one token, so that every token but a document's first is a target once. With `n_tokens`,
    about so many of them, in pieces spread evenly over the text. Raises `DataError` if no document has two tokens.
    """
    pieces = []
    for start, n in zip([0, *accumulate(lengths)], lengths, strict=False):
        pieces += [(start + at, min(longest, n - 1 - at)) for at in range(0, n - 1, longest)]
    if not pieces:
        raise DataError(
            "a document of at least 2 tokens is needed",
            got=len(tokens),
            remedy="Give a longer text.",
        )
    if n_tokens is not None and n_tokens < sum(n for _, n in pieces):
        pieces = _spread(pieces, n_tokens)
    places = torch.cat([torch.arange(start, start + n) for start, n in pieces]).numpy()
    read, targets = (torch.from_numpy(tokens[places + i].astype(np.int64)) for i in (0, 1))
    return PackedText(read, targets, torch.tensor([0, *accumulate(n for _, n in pieces)]))


def _spread(pieces: list[tuple[int, int]], n_tokens: int) -> list[tuple[int, int]]:
    """As many pieces, at even distances in the text, as come nearest to `n_tokens` and hold at most so many, or one."""
    ends = np.cumsum([n for _, n in pieces])
    mean = ends[-1] / len(pieces)
    for count in range(max(1, round(n_tokens / mean * 2)), 0, -1):
        wanted = (np.arange(count) + 0.5) * ends[-1] / count
        chosen = np.unique(np.searchsorted(ends, wanted))
        found = [pieces[i] for i in chosen]
        if count == 1 or sum(n for _, n in found) <= n_tokens:
            break
    return found
