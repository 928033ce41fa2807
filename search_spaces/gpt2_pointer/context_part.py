"""What the context heads of `gpt2-pointer` apply to embedded codes: the maps' first halves, behind a
reader that gets the plain code back.

Letters of shapes as in `clso.search_spaces.gpt2_pointer.weights`."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.grown.joint_context import JointMaps
from clso.grown.patterns import PositionPattern
from clso.search_spaces.gpt2_pointer.genes import GAIN_VALUES

__all__ = ["ContextPart"]

_READER_RIDGE = 1e-5


class ContextPart:
    """Value maps of a context allele, and how to read the plain code A (V, k) out of what is
    embedded.

    `spare` (V, q) is E on its main directions, with E the maps' `expected`; `down` (gain values,
    patterns, k + q, r of all heads) the maps' first halves for each value of the gain, as heads
    apply them to what is embedded."""

    def __init__(
        self,
        maps: JointMaps,
        a: Tensor,
        count: Tensor,
        patterns: tuple[PositionPattern, ...],
        heads_each: int,
        n_spare: int,
    ) -> None:
        self.maps, self.patterns, self.heads_each = maps, patterns, heads_each
        w, e = count[:, None], maps.expected  # (V, 1), (V, k)
        # Second moments over the text's tokens (k, k).
        self._aa = (a * w).T @ a
        self._ae = (a * w).T @ e
        self._ee = (e * w).T @ e
        # E's main directions (k, q), and E along them (V, q).
        self._main = torch.linalg.eigh(self._ee)[1].flip(1)[:, :n_spare]
        self.spare = e @ self._main
        # Read the plain code first (gain values, k + q, k), then apply the map's first half.
        gains = torch.tensor(GAIN_VALUES["context.gain"], device=a.device)
        self.down = self.reader(gains)[:, None] @ maps.down

    def reader(self, gain: Tensor) -> Tensor:
        """For gains (P,), matrices R (P, k + q, k) of the least squares [A - gain E, spare] R = A
        over the text's tokens."""
        g = gain[:, None, None]  # (P, 1, 1)
        # Blocks of the Gram matrix of [A - gain E, spare]: (P, k, k), (P, k, q), (P, q, q),
        code = self._aa - g * (self._ae + self._ae.T) + g * g * self._ee
        cross = (self._ae - g * self._ee) @ self._main
        spare = (self._main.T @ self._ee @ self._main).expand(len(gain), -1, -1)
        gram = torch.cat(
            [torch.cat([code, cross], 2), torch.cat([cross.transpose(1, 2), spare], 2)], 1
        )
        # and its products with A (P, k + q, k).
        spare_a = (self._main.T @ self._ae.T).expand(len(gain), -1, -1)
        right = torch.cat([self._aa - g * self._ae.T, spare_a], 1)
        # Columns to unit length, so that one small ridge suits codes and their spare directions
        # alike.
        size = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-9).sqrt()[..., None]
        gram = gram / (size * size.transpose(1, 2))
        gram.diagonal(dim1=1, dim2=2).add_(_READER_RIDGE)
        solved: Tensor = torch.linalg.solve(gram, right / size) / size
        return solved

    def pieces(self, head_dim: int) -> list[tuple[int, int, slice]]:
        """For each head that speaks: its number, its pattern, its part of that pattern's map."""
        parts = [slice(i * head_dim, (i + 1) * head_dim) for i in range(self.heads_each)]
        each = [(pattern, part) for pattern in range(len(self.patterns)) for part in parts]
        return [(head, pattern, part) for head, (pattern, part) in enumerate(each)]
