"""Monarch crystals: two block-diagonal factors with a transposing permutation between them."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clso.crystals.base import Arrays, Crystal
from clso.crystals.descriptor import Traits, power_iteration
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["Monarch"]


@register_family("monarch")
class Monarch(Crystal):
    """W = P L P^T R (Dao et al. 2022, arXiv:2204.00595), for any shape.

    x is padded with zeros to k groups of p = ceil(d_in / k); R has k blocks (q, p); P transposes
    the (k, q) grid; L has q blocks (s, k), s = ceil(d_out / q); the output, read as an (s, q) grid,
    is cropped to d_out. Then W[i, j] = L[i % q, i // q, j // p] R[j // p, i % q, j % p], each entry
    one product. `blocks` sets k = q, lowered to a dimension below it; 0 means ceil(sqrt(min(d_out,
    d_in))), the fewest that allow full rank (the paper's choice when d_out = d_in is a square).
    Stored with the padding, which is zero: `first` (k, q, p) and `second` (q, s, k)."""

    defaults: ClassVar[Params] = {"blocks": 0}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            int(params["blocks"]) >= 0,
            "monarch.blocks is at least 1, or 0 for automatic",
            got=params["blocks"],
            remedy="0 is the default.",
        )

    @property
    def grid(self) -> tuple[int, int, int, int]:
        """(k, p, q, s): input groups, their size, output groups, their size."""
        wanted = int(self.params["blocks"]) or math.isqrt(min(self.shape) - 1) + 1
        k, q = min(wanted, self.d_in), min(wanted, self.d_out)
        return k, -(-self.d_in // k), q, -(-self.d_out // q)

    @property
    def rank_bound(self) -> int:
        k, _, q, _ = self.grid
        return min(k * q, *self.shape)

    @property
    def n_params(self) -> int:
        k, p, q, s = self.grid
        return k * q * (p + s)

    def build(self, rng: np.random.Generator) -> Arrays:
        k, p, q, s = self.grid
        first = rng.standard_normal((k, q, p), dtype=np.float32)
        second = rng.standard_normal((q, s, k), dtype=np.float32)
        inputs = np.arange(k * p).reshape(k, 1, p) < self.d_in
        outputs = (np.arange(s * q).reshape(s, q) < self.d_out).T[:, :, None]
        first, second = first * inputs, second * outputs
        # One product per entry, so energy separates over the (k, q) grid.
        energy = float(np.sum(_power_sum(first, 2, 2) * _power_sum(second, 2, 1).T))
        return {
            "first": first,
            "second": second * np.float32(self.frobenius_target / math.sqrt(energy)),
        }

    def apply(self, x: Tensor) -> Tensor:
        k, p, q, s = self.grid
        padded = torch.nn.functional.pad(x, (0, k * p - self.d_in)).view(-1, k, p)
        hidden = torch.einsum("tkp,kqp->tkq", padded, self.values("first", x))
        y = torch.einsum("tkq,qsk->tsq", hidden, self.values("second", x))
        return y.reshape(-1, s * q)[:, : self.d_out]

    def dense(self, dtype: torch.dtype) -> Tensor:
        k, p, q, s = self.grid
        grid = torch.einsum(
            "kqp,qsk->sqkp", self.values("first", dtype), self.values("second", dtype)
        )
        return grid.reshape(s * q, k * p)[: self.d_out, : self.d_in].contiguous()

    def token_flops(self) -> int:
        return 2 * self.n_params

    def traits(self) -> Traits:
        k, p, q, _ = self.grid
        first, second = self.array("first"), self.array("second")
        energy = float(np.sum(_power_sum(first, 2, 2) * _power_sum(second, 2, 1).T))
        total_abs = float(np.sum(_power_sum(first, 1, 2) * _power_sum(second, 1, 1).T))
        i = np.arange(min(self.shape))
        diagonal = second[i % q, i // q, i // p] * first[i // p, i % q, i % p]
        spectral = power_iteration(
            lambda v: np.einsum("kqp,qsk,kp->sq", first, second, v.reshape(k, p), optimize=_PATH),
            lambda u: np.einsum("qsk,kqp,sq->kp", second, first, u, optimize=_PATH).reshape(-1),
            k * p,
        )
        return Traits(
            rank=self.rank_bound,
            density=1.0,
            frobenius=math.sqrt(energy),
            spectral=spectral,
            mean_abs=total_abs / (self.d_out * self.d_in),
            diagonal_mass=float(np.sum(np.square(diagonal, dtype=np.float64))) / energy,
        )


# Contract the vector with its neighbour first: the structured product, never the dense matrix.
_PATH = ["einsum_path", (0, 2), (0, 1)]


def _power_sum(values: NDArray[np.float32], power: int, axis: int) -> NDArray[np.float64]:
    total: NDArray[np.float64] = np.sum(np.abs(values.astype(np.float64)) ** power, axis=axis)
    return total
