"""Low-rank crystals with ternary factors."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clso.crystals.base import Arrays, Crystal
from clso.crystals.descriptor import Traits, power_iteration
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["LowRank"]

_N_DRAWS = 20


@register_family("low_rank")
class LowRank(Crystal):
    """W = scale U V^T with U (d_out, rank) and V (d_in, rank) in {-1, 0, 1}.

    `density` is the share of non-zero factor entries (2/3: the three values equally likely). `rank`
    is lowered to min(d_out, d_in). Stored: `left` and `right` (int8), `scale` (float32). Density
    and mean |w| in `traits` are expectations; the rest is exact, the spectral norm estimated."""

    defaults: ClassVar[Params] = {"rank": 8, "density": 2 / 3}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            int(params["rank"]) >= 1,
            "low_rank.rank is at least 1",
            got=params["rank"],
            remedy="8 is the default.",
        )
        require(
            0 < float(params["density"]) <= 1,
            "low_rank.density is in (0, 1]",
            got=params["density"],
            remedy="2/3 makes -1, 0 and 1 equally likely.",
        )

    @property
    def rank_bound(self) -> int:
        return min(int(self.params["rank"]), *self.shape)

    @property
    def n_params(self) -> int:
        return self.rank_bound * (self.d_out + self.d_in) + 1

    def build(self, rng: np.random.Generator) -> Arrays:
        density = float(self.params["density"])
        left, right = (self._ternary(rng, size, density) for size in self.shape)
        energy = _energy(left, right)
        # Sparse factors of a tiny matrix may multiply to zero, which no scale can repair.
        for draw in range(_N_DRAWS):
            if energy > 0:
                break
            density = 1.0 if draw >= _N_DRAWS // 2 else density
            left, right = (self._ternary(rng, size, density) for size in self.shape)
            energy = _energy(left, right)
        if energy == 0:
            left[:], right[:] = 1, 1
            energy = _energy(left, right)
        scale = np.array(self.frobenius_target / math.sqrt(energy), dtype=np.float32)
        return {"left": left, "right": right, "scale": scale}

    def _ternary(self, rng: np.random.Generator, size: int, density: float) -> NDArray[np.int8]:
        signs = rng.integers(0, 2, (size, self.rank_bound), dtype=np.int8) * np.int8(2) - np.int8(1)
        kept = rng.random((size, self.rank_bound), dtype=np.float32) < density
        return np.where(kept, signs, np.int8(0)).astype(np.int8)

    def apply(self, x: Tensor) -> Tensor:
        hidden = x @ self.values("right", x)
        return (hidden * self.values("scale", x)) @ self.values("left", x).T

    def dense(self, dtype: torch.dtype) -> Tensor:
        return (self.values("left", dtype) @ self.values("right", dtype).T) * self.values(
            "scale", dtype
        )

    def token_flops(self) -> int:
        return 2 * self.rank_bound * (self.d_out + self.d_in)

    def traits(self) -> Traits:
        left, right = (self.array(name).astype(np.float32) for name in ("left", "right"))
        scale = float(self.array("scale"))
        # Distribution of one entry, a sum of `rank` independent products in {-1, 0, 1}.
        p_step = float(np.mean(left != 0) * np.mean(right != 0))
        law: NDArray[Any] = np.ones(1)
        for _ in range(self.rank_bound):
            law = np.convolve(law, [p_step / 2, 1 - p_step, p_step / 2])
        magnitude = np.abs(np.arange(-self.rank_bound, self.rank_bound + 1))
        energy, size = _energy(left, right), min(self.shape)
        diagonal = np.einsum("ir,ir->i", left[:size], right[:size])
        return Traits(
            rank=self.rank_bound,
            density=1.0 - float(law[self.rank_bound]),
            frobenius=scale * math.sqrt(energy),
            spectral=scale
            * power_iteration(
                lambda v: left @ (right.T @ v), lambda u: right @ (left.T @ u), self.d_in
            ),
            mean_abs=scale * float(law @ magnitude),
            diagonal_mass=float(diagonal @ diagonal) / energy if energy else 0.0,
        )


def _energy(left: NDArray[Any], right: NDArray[Any]) -> float:
    """||left right^T||_F^2 by the Gram matrices; sums of small integers, hence exact in float64."""
    grams = [factor.astype(np.float64).T @ factor.astype(np.float64) for factor in (left, right)]
    return float(np.sum(grams[0] * grams[1]))
