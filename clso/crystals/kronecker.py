"""Kronecker crystals: the product of a coarse and a fine matrix."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from clso.crystals.base import Arrays, Crystal, unit_energy
from clso.crystals.descriptor import Traits, spectral_norm
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["Kronecker", "nearest_divisor"]


def nearest_divisor(size: int, target: float) -> int:
    """The divisor of `size` nearest to `target` in ratio, the smaller of two equally near."""
    small = [d for d in range(1, math.isqrt(size) + 1) if size % d == 0]
    divisors = sorted({*small, *(size // d for d in small)})
    # Rounded, since 1 and a prime are equally near to its square root only up to the last bit of a
    # logarithm.
    return min(divisors, key=lambda d: (round(abs(math.log(d / target)), 9), d))


@register_family("kronecker")
class Kronecker(Crystal):
    """W = A (x) B with A (a, c) and B (b, d), d_out = a b, d_in = c d.

    a and c are the divisors of d_out and d_in nearest to `coarse`, or to the square root when it is
    0. A dimension with no divisor near takes the nearest it has: a prime one gives the factor pair
    (1, size), and two prime ones a dense B. Stored: `coarse` (a, c) and `fine` (b, d)."""

    defaults: ClassVar[Params] = {"coarse": 0}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            int(params["coarse"]) >= 0,
            "kronecker.coarse is at least 1, or 0 for balanced factors",
            got=params["coarse"],
            remedy="0 is the default.",
        )

    @property
    def factors(self) -> tuple[int, int, int, int]:
        """(a, b, c, d)."""
        wanted = int(self.params["coarse"])
        a, c = (nearest_divisor(size, wanted or math.sqrt(size)) for size in self.shape)
        return a, self.d_out // a, c, self.d_in // c

    @property
    def rank_bound(self) -> int:
        a, b, c, d = self.factors
        return min(a, c) * min(b, d)

    @property
    def n_params(self) -> int:
        a, b, c, d = self.factors
        return a * c + b * d

    def build(self, rng: np.random.Generator) -> Arrays:
        a, b, c, d = self.factors
        # ||A (x) B||_F = ||A||_F ||B||_F.
        coarse = unit_energy(rng.standard_normal((a, c), dtype=np.float32), 1.0)
        fine = unit_energy(rng.standard_normal((b, d), dtype=np.float32), self.frobenius_target)
        return {"coarse": coarse, "fine": fine}

    def _order_flops(self) -> tuple[int, int]:
        """FLOPs of one token with B first, and with A first."""
        a, b, c, d = self.factors
        return 2 * c * b * (d + a), 2 * a * d * (c + b)

    def apply(self, x: Tensor) -> Tensor:
        a, b, c, d = self.factors
        coarse, fine = self.values("coarse", x), self.values("fine", x)
        grid = x.view(-1, c, d)
        fine_first, coarse_first = self._order_flops()
        y = coarse @ (grid @ fine.T) if fine_first <= coarse_first else (coarse @ grid) @ fine.T
        return y.reshape(-1, a * b)

    def dense(self, dtype: torch.dtype) -> Tensor:
        return torch.kron(self.values("coarse", dtype), self.values("fine", dtype))

    def token_flops(self) -> int:
        return min(self._order_flops())

    def traits(self) -> Traits:
        _, b, _, d = self.factors
        coarse, fine = self.array("coarse"), self.array("fine")
        energy = float(
            np.sum(np.square(coarse, dtype=np.float64)) * np.sum(np.square(fine, dtype=np.float64))
        )
        i = np.arange(min(self.shape))
        diagonal = coarse[i // b, i // d] * fine[i % b, i % d]
        return Traits(
            rank=self.rank_bound,
            density=1.0,
            frobenius=math.sqrt(energy),
            spectral=spectral_norm(coarse) * spectral_norm(fine),
            mean_abs=float(np.mean(np.abs(coarse))) * float(np.mean(np.abs(fine))),
            diagonal_mass=float(np.sum(np.square(diagonal, dtype=np.float64))) / energy,
        )
