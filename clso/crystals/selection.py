"""Crystals that only pick: permutation, identity and zero. They multiply nothing, hence 0 FLOPs."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from clso.crystals.base import Arrays, Crystal
from clso.crystals.descriptor import Traits
from clso.crystals.registry import register_family

__all__ = ["Identity", "Permutation", "Zero"]


@register_family("permutation")
class Permutation(Crystal):
    """A random permutation times `gain`; a partial one when W is rectangular.

    min(d_out, d_in) random rows each read a different random input; the other rows are zero.
    Entries are `gain`, not rescaled. Stored: `source` (d_out,), the input read by each output or
    -1."""

    @property
    def n_params(self) -> int:
        return 0

    def build(self, rng: np.random.Generator) -> Arrays:
        n_pairs = min(self.shape)
        source = np.full(self.d_out, -1, dtype=np.int32)
        source[rng.permutation(self.d_out)[:n_pairs]] = rng.permutation(self.d_in)[:n_pairs]
        return {"source": source}

    def apply(self, x: Tensor) -> Tensor:
        source = self.tensors["source"].to(x.device)
        y = x.index_select(1, source.clamp(min=0).long()) * self.gain
        return y.masked_fill_(source < 0, 0)

    def dense(self, dtype: torch.dtype) -> Tensor:
        source = self.tensors["source"]
        rows = torch.nonzero(source >= 0).squeeze(1)
        matrix = torch.zeros(self.shape, dtype=dtype, device=source.device)
        matrix[rows, source[rows].long()] = self.gain
        return matrix

    def token_flops(self) -> int:
        return 0

    def traits(self) -> Traits:
        source = self.array("source")
        n_fixed = int(np.sum(source == np.arange(self.d_out)))
        return _selection_traits(self, n_fixed / min(self.shape))


@register_family("identity")
class Identity(Crystal):
    """`gain` on the main diagonal: the input, cropped or zero-padded. Stores nothing; ignores the
    seed."""

    @property
    def n_params(self) -> int:
        return 0

    def build(self, rng: np.random.Generator) -> Arrays:
        return {}

    def apply(self, x: Tensor) -> Tensor:
        picked = x[:, : self.d_out] * self.gain
        return torch.nn.functional.pad(picked, (0, self.d_out - picked.shape[1]))

    def dense(self, dtype: torch.dtype) -> Tensor:
        return torch.eye(*self.shape, dtype=dtype) * self.gain

    def token_flops(self) -> int:
        return 0

    def traits(self) -> Traits:
        return _selection_traits(self, 1.0)


@register_family("zero")
class Zero(Crystal):
    """The zero matrix: the allele that switches a slot off. Stores nothing; ignores the seed and
    the gain."""

    @property
    def n_params(self) -> int:
        return 0

    @property
    def rank_bound(self) -> int:
        return 0

    def build(self, rng: np.random.Generator) -> Arrays:
        return {}

    def apply(self, x: Tensor) -> Tensor:
        return x.new_zeros(x.shape[0], self.d_out)

    def dense(self, dtype: torch.dtype) -> Tensor:
        return torch.zeros(self.shape, dtype=dtype)

    def token_flops(self) -> int:
        return 0

    def traits(self) -> Traits:
        return Traits(0, 0.0, 0.0, 0.0, 0.0, 0.0)


def _selection_traits(crystal: Crystal, diagonal_mass: float) -> Traits:
    n_pairs, n_total = min(crystal.shape), crystal.d_out * crystal.d_in
    return Traits(
        rank=n_pairs,
        density=n_pairs / n_total,
        frobenius=crystal.gain * math.sqrt(n_pairs),
        spectral=crystal.gain,
        mean_abs=crystal.gain * n_pairs / n_total,
        diagonal_mass=diagonal_mass,
    )
