"""Quantised dense crystals: the unstructured control, at 1, 2, 4 or 8 bits a weight."""

from __future__ import annotations

import math
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from clso.crystals.base import Arrays, Crystal
from clso.crystals.descriptor import Traits, gaussian_block_traits
from clso.crystals.params import Params, require
from clso.crystals.registry import register_family

__all__ = ["Quantised"]

# Step of the uniform quantiser with least mean square error on a standard normal, by bits (Max
# 1960, table II; the 8-bit step is that of the same criterion).
MAX_STEP = {1: 1.596, 2: 0.9957, 4: 0.3352, 8: 0.0308}


@register_family("quantised")
class Quantised(Crystal):
    """Gaussian weights on 2^bits even levels, none at zero: w = scale (2 code - 2^bits + 1).

    Stored: `codes` (uint8, 8 / bits weights a byte, first weight in the low bits, row-major) and
    `scale` (float32)."""

    defaults: ClassVar[Params] = {"bits": 4}

    @classmethod
    def check(cls, shape: tuple[int, int], params: Params) -> None:
        require(
            params["bits"] in MAX_STEP,
            "quantised.bits is 1, 2, 4 or 8",
            got=params["bits"],
            remedy="4 is the default.",
        )

    @property
    def bits(self) -> int:
        return int(self.params["bits"])

    @property
    def n_params(self) -> int:
        return self.d_out * self.d_in + 1

    def build(self, rng: np.random.Generator) -> Arrays:
        n_weights, n_levels, per_byte = self.d_out * self.d_in, 2**self.bits, 8 // self.bits
        normal = rng.standard_normal(n_weights, dtype=np.float32)
        code = np.clip(
            np.floor(normal / np.float32(MAX_STEP[self.bits])) + n_levels // 2, 0, n_levels - 1
        )
        level = 2 * code - (n_levels - 1)
        energy = float(np.sum(np.square(level, dtype=np.float64)))
        padded = np.zeros((-(-n_weights // per_byte), per_byte), dtype=np.uint8)
        padded.reshape(-1)[:n_weights] = code.astype(np.uint8)
        shifts = np.arange(0, 8, self.bits, dtype=np.uint8)
        packed = np.bitwise_or.reduce(np.left_shift(padded, shifts), axis=1)
        return {
            "codes": packed.astype(np.uint8),
            "scale": np.array(self.frobenius_target / math.sqrt(energy), dtype=np.float32),
        }

    def apply(self, x: Tensor) -> Tensor:
        return x @ self.dense(x.dtype).to(x.device).T

    def dense(self, dtype: torch.dtype) -> Tensor:
        packed = self.tensors["codes"]
        shifts = torch.arange(0, 8, self.bits, dtype=torch.uint8, device=packed.device)
        codes = (packed[:, None] >> shifts) & (2**self.bits - 1)
        level = 2 * codes.reshape(-1)[: self.d_out * self.d_in].to(dtype) - (2**self.bits - 1)
        weights: Tensor = level.reshape(self.shape) * self.values("scale", dtype)
        return weights

    def token_flops(self) -> int:
        return 2 * self.d_out * self.d_in

    def traits(self) -> Traits:
        if self.seed is None:
            return super().traits()
        return gaussian_block_traits(
            self.shape, [self.shape], min(self.shape), self.frobenius_target, self._abs_over_rms()
        )

    def _abs_over_rms(self) -> float:
        """E|level| / sqrt(E level^2) of a quantised standard normal."""
        step, half = MAX_STEP[self.bits], 2 ** (self.bits - 1)
        cdf = [math.erf(k * step / math.sqrt(2)) for k in range(half)] + [1.0]
        weights = [(2 * k + 1, cdf[k + 1] - cdf[k]) for k in range(half)]
        return sum(v * p for v, p in weights) / math.sqrt(sum(v * v * p for v, p in weights))
