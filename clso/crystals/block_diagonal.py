"""Block-diagonal crystals: groups of inputs that only feed their own group of outputs."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from clso.crystals.base import Arrays, Crystal, unit_energy
from clso.crystals.descriptor import Traits
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["BlockDiagonal", "split_points"]


def split_points(size: int, n_parts: int) -> list[int]:
    """Boundaries 0 = p_0 < ... < p_n = size of `n_parts` parts whose lengths differ by at most
    1."""
    return [i * size // n_parts for i in range(n_parts + 1)]


@register_family("block_diagonal")
class BlockDiagonal(Crystal):
    """`blocks` Gaussian blocks along the diagonal, rectangular when W is.

    Dimensions that `blocks` does not divide give uneven blocks; a dimension below `blocks` lowers
    their number. Stored: `values`, the blocks one after the other, row by row."""

    defaults: ClassVar[Params] = {"blocks": 4}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            int(params["blocks"]) >= 1,
            "block_diagonal.blocks is at least 1",
            got=params["blocks"],
            remedy="2 to 8 is usual.",
        )

    def _parts(self) -> list[tuple[slice, slice]]:
        n_blocks = min(int(self.params["blocks"]), *self.shape)
        rows, columns = (split_points(size, n_blocks) for size in self.shape)
        return [(slice(*rows[i : i + 2]), slice(*columns[i : i + 2])) for i in range(n_blocks)]

    def _sizes(self) -> list[tuple[int, int]]:
        return [(r.stop - r.start, c.stop - c.start) for r, c in self._parts()]

    def _blocks(self, values: Tensor) -> list[Tensor]:
        sizes = self._sizes()
        flat = torch.split(values, [m * n for m, n in sizes])
        return [block.view(size) for block, size in zip(flat, sizes, strict=True)]

    @property
    def n_params(self) -> int:
        return sum(m * n for m, n in self._sizes())

    @property
    def rank_bound(self) -> int:
        return sum(min(size) for size in self._sizes())

    def build(self, rng: np.random.Generator) -> Arrays:
        values = rng.standard_normal(self.n_params, dtype=np.float32)
        return {"values": unit_energy(values, self.frobenius_target)}

    def apply(self, x: Tensor) -> Tensor:
        blocks = self._blocks(self.values("values", x))
        outputs = [x[:, c] @ block.T for block, (_, c) in zip(blocks, self._parts(), strict=True)]
        return torch.cat(outputs, dim=1)

    def dense(self, dtype: torch.dtype) -> Tensor:
        values = self.values("values", dtype)
        matrix = values.new_zeros(self.shape)
        for block, part in zip(self._blocks(values), self._parts(), strict=True):
            matrix[part] = block
        return matrix

    def token_flops(self) -> int:
        return 2 * self.n_params

    def traits(self) -> Traits:
        n_diagonal = sum(
            max(0, min(r.stop, c.stop) - max(r.start, c.start)) for r, c in self._parts()
        )
        return self.gaussian_traits(self._sizes(), n_diagonal)
