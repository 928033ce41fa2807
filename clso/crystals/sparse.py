"""Structured sparsity: whole rows, whole columns, a checkerboard, or a random mask of constant
fan-in."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import embedding_bag

from clso.crystals.base import Arrays, Crystal, unit_energy
from clso.crystals.descriptor import Traits
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["Checkerboard", "SparseColumns", "SparseRandom", "SparseRows"]


class _Masked(Crystal):
    """Gaussian entries, a share `density` of them kept; at least one row, column or entry per
    row."""

    defaults: ClassVar[Params] = {"density": 0.5}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            0 < float(params["density"]) <= 1,
            f"{cls.family}.density, the share of weights kept, is in (0, 1]",
            got=params["density"],
            remedy="0.2, 0.5 and 0.8 are usual.",
        )

    def _n_kept(self, size: int) -> int:
        return max(1, round(float(self.params["density"]) * size))

    def _gaussian(self, rng: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.float32]:
        return unit_energy(rng.standard_normal(shape, dtype=np.float32), self.frobenius_target)

    def _index(self, device: torch.device) -> Tensor:
        return self.tensors["kept"].to(device=device, dtype=torch.long)

    def token_flops(self) -> int:
        return 2 * self.n_params


def _choose(rng: np.random.Generator, size: int, n_kept: int) -> NDArray[np.int32]:
    return np.sort(rng.permutation(size)[:n_kept]).astype(np.int32)


@register_family("sparse_rows")
class SparseRows(_Masked):
    """Only a random share of the outputs is fed. Stored: `kept` (k,) row indices, `values` (k,
    d_in)."""

    @property
    def n_params(self) -> int:
        return self.n_rows * self.d_in

    @property
    def n_rows(self) -> int:
        """How many rows are kept."""
        return self._n_kept(self.d_out)

    @property
    def rank_bound(self) -> int:
        return min(self.n_rows, self.d_in)

    def build(self, rng: np.random.Generator) -> Arrays:
        kept = _choose(rng, self.d_out, self.n_rows)
        return {"kept": kept, "values": self._gaussian(rng, (self.n_rows, self.d_in))}

    def apply(self, x: Tensor) -> Tensor:
        y = x.new_zeros(x.shape[0], self.d_out)
        return y.index_copy_(1, self._index(x.device), x @ self.values("values", x).T)

    def dense(self, dtype: torch.dtype) -> Tensor:
        values = self.values("values", dtype)
        return values.new_zeros(self.shape).index_copy_(0, self._index(values.device), values)

    def traits(self) -> Traits:
        blocks = [(self.n_rows, self.d_in)]
        n_diagonal = self.n_rows * min(self.shape) / self.d_out
        return self.gaussian_traits(blocks, n_diagonal)


@register_family("sparse_columns")
class SparseColumns(_Masked):
    """Only a random share of the inputs is read. Stored: `kept` (k,) column indices, `values`
    (d_out, k)."""

    @property
    def n_params(self) -> int:
        return self.d_out * self.n_columns

    @property
    def n_columns(self) -> int:
        """How many columns are kept."""
        return self._n_kept(self.d_in)

    @property
    def rank_bound(self) -> int:
        return min(self.d_out, self.n_columns)

    def build(self, rng: np.random.Generator) -> Arrays:
        kept = _choose(rng, self.d_in, self.n_columns)
        return {"kept": kept, "values": self._gaussian(rng, (self.d_out, self.n_columns))}

    def apply(self, x: Tensor) -> Tensor:
        return x.index_select(1, self._index(x.device)) @ self.values("values", x).T

    def dense(self, dtype: torch.dtype) -> Tensor:
        values = self.values("values", dtype)
        return values.new_zeros(self.shape).index_copy_(1, self._index(values.device), values)

    def traits(self) -> Traits:
        blocks = [(self.d_out, self.n_columns)]
        n_diagonal = self.n_columns * min(self.shape) / self.d_in
        return self.gaussian_traits(blocks, n_diagonal)


@register_family("sparse_random")
class SparseRandom(_Masked):
    """A random mask of constant fan-in: every output reads the same number k of random inputs.

    Constant fan-in (Lasby et al. 2024, "Dynamic sparse training with structured sparsity") stores
    as two rectangular arrays and multiplies as a weighted bag of input columns. Stored: `kept`
    (d_out, k) column indices, increasing in each row, and `values` (d_out, k)."""

    @property
    def fan_in(self) -> int:
        """Non-zero entries in each row."""
        return self._n_kept(self.d_in)

    @property
    def n_params(self) -> int:
        return self.d_out * self.fan_in

    def build(self, rng: np.random.Generator) -> Arrays:
        # float64 keys: ties, which a partition breaks differently from one CPU to the next, do not
        # occur.
        keys = rng.random(self.shape)
        kept = np.sort(np.argpartition(keys, self.fan_in - 1, axis=1)[:, : self.fan_in], axis=1)
        return {
            "kept": kept.astype(np.int32),
            "values": self._gaussian(rng, (self.d_out, self.fan_in)),
        }

    def apply(self, x: Tensor) -> Tensor:
        columns = x.T.contiguous()
        weights = self.values("values", x)
        return embedding_bag(
            self._index(x.device), columns, mode="sum", per_sample_weights=weights
        ).T

    def dense(self, dtype: torch.dtype) -> Tensor:
        values = self.values("values", dtype)
        return values.new_zeros(self.shape).scatter_(1, self._index(values.device), values)

    def traits(self) -> Traits:
        if self.seed is None:
            return super().traits()
        # The mask leaves entries i.i.d. in the limit: the law of one block of the whole shape, with
        # smaller entries.
        full = self.gaussian_traits([self.shape], min(self.shape))
        density = self.fan_in / self.d_in
        return Traits(
            rank=self.rank_bound,
            density=density,
            frobenius=full.frobenius,
            spectral=full.spectral,
            mean_abs=full.mean_abs * math.sqrt(density),
            diagonal_mass=full.diagonal_mass,
        )


@register_family("checkerboard")
class Checkerboard(Crystal):
    """Gaussian entries where (i // cell + j // cell) is even, zero elsewhere.

    Even stripes of inputs feed even stripes of outputs and odd feed odd: two dense products of half
    size.
    Stored: `even` and `odd`, the two halves. A dimension within one cell leaves `odd` empty.
    """

    defaults: ClassVar[Params] = {"cell": 1}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            int(params["cell"]) >= 1,
            "checkerboard.cell is at least 1",
            got=params["cell"],
            remedy="1 alternates every entry.",
        )

    def _stripes(self, size: int, parity: int) -> NDArray[np.int64]:
        positions = np.arange(size)
        return np.flatnonzero((positions // int(self.params["cell"])) % 2 == parity)

    def _sizes(self) -> list[tuple[int, int]]:
        return [
            (len(self._stripes(self.d_out, parity)), len(self._stripes(self.d_in, parity)))
            for parity in (0, 1)
        ]

    @property
    def n_params(self) -> int:
        return sum(m * n for m, n in self._sizes())

    @property
    def rank_bound(self) -> int:
        return sum(min(size) for size in self._sizes())

    def build(self, rng: np.random.Generator) -> Arrays:
        values = unit_energy(
            rng.standard_normal(self.n_params, dtype=np.float32), self.frobenius_target
        )
        even, odd = self._sizes()
        cut = even[0] * even[1]
        return {"even": values[:cut].reshape(even), "odd": values[cut:].reshape(odd)}

    def _halves(self, device: torch.device) -> list[tuple[str, Tensor, Tensor]]:
        halves = []
        for parity, name in enumerate(("even", "odd")):
            rows, columns = (
                torch.from_numpy(self._stripes(size, parity)).to(device) for size in self.shape
            )
            halves.append((name, rows, columns))
        return halves

    def apply(self, x: Tensor) -> Tensor:
        y = x.new_zeros(x.shape[0], self.d_out)
        for name, rows, columns in self._halves(x.device):
            y.index_copy_(1, rows, x.index_select(1, columns) @ self.values(name, x).T)
        return y

    def dense(self, dtype: torch.dtype) -> Tensor:
        device = self.tensors["even"].device
        matrix = torch.zeros(self.shape, dtype=dtype, device=device)
        for name, rows, columns in self._halves(device):
            matrix[rows[:, None], columns] = self.values(name, dtype)
        return matrix

    def token_flops(self) -> int:
        return 2 * self.n_params

    def traits(self) -> Traits:
        blocks = [size for size in self._sizes() if min(size) > 0]
        return self.gaussian_traits(blocks, min(self.shape))
