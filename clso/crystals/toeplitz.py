"""Toeplitz and circulant crystals: one number per diagonal."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from clso.crystals.base import Arrays, Crystal
from clso.crystals.descriptor import Traits, power_iteration
from clso.crystals.registry import register_family

__all__ = ["Circulant", "Toeplitz"]

# Measured on one CPU core, float32: at 128 x 128 gathering the diagonals into a dense matrix is 4
# times quicker than the FFT (1024 rows), at 512 x 512 they are even, at 2048 x 2048 the FFT is 6
# times quicker. A dense FLOP is that much cheaper than an FFT's, so the FFT has to need this many
# times fewer.
DENSE_FLOP_ADVANTAGE = 10


@register_family("toeplitz")
class Toeplitz(Crystal):
    """W[i, j] = t[i - j + d_in - 1]. Stored: `diagonals`, t (d_out + d_in - 1,), lower-left corner
    last."""

    @property
    def n_params(self) -> int:
        return self.d_out + self.d_in - 1

    def _stored_index(self) -> NDArray[np.int64]:
        """For each of the d_out + d_in - 1 diagonals, which stored number it holds."""
        return np.arange(self.d_out + self.d_in - 1)

    def _counts(self) -> NDArray[np.int64]:
        """Entries on each diagonal i - j = -(d_in - 1) ... d_out - 1."""
        offset = np.arange(1 - self.d_in, self.d_out)
        return np.minimum(self.d_out, self.d_in + offset) - np.maximum(0, offset)

    def build(self, rng: np.random.Generator) -> Arrays:
        values = rng.standard_normal(self.n_params, dtype=np.float32)
        energy = float(
            np.sum(self._counts() * np.square(values[self._stored_index()], dtype=np.float64))
        )
        return {"diagonals": values * np.float32(self.frobenius_target / math.sqrt(energy))}

    def _diagonals(self, like: Tensor | torch.dtype) -> Tensor:
        values = self.values("diagonals", like)
        index = torch.from_numpy(self._stored_index()).to(values.device)
        return torch.index_select(values, 0, index)

    @property
    def _fft_length(self) -> int:
        return 1 << (self.d_out + self.d_in - 2).bit_length()

    def _fft_flops(self) -> int:
        # Two real transforms at 2.5 N log2 N each and N / 2 + 1 complex products at 6; the kernel's
        # is shared.
        length = self._fft_length
        return round(5 * length * math.log2(max(length, 2))) + 6 * (length // 2 + 1)

    @property
    def uses_fft(self) -> bool:
        """Whether `matmul` goes by the FFT rather than by the gathered dense matrix."""
        return 2 * self.d_out * self.d_in > DENSE_FLOP_ADVANTAGE * self._fft_flops()

    def token_flops(self) -> int:
        return self._fft_flops() if self.uses_fft else 2 * self.d_out * self.d_in

    def apply(self, x: Tensor) -> Tensor:
        """By the FFT: linear convolution with t, the rows d_in - 1 ... d_in + d_out - 2 of it."""
        length = self._fft_length
        spectrum = torch.fft.rfft(x, length) * torch.fft.rfft(self._diagonals(x), length)
        convolved: Tensor = torch.fft.irfft(spectrum, length)
        return convolved[:, self.d_in - 1 : self.d_in - 1 + self.d_out]

    def dense(self, dtype: torch.dtype) -> Tensor:
        # Row i reads the reversed diagonals from d_out - 1 - i on.
        reverse = self._diagonals(dtype).flip(0)
        windows: Tensor = reverse.unfold(0, self.d_in, 1)
        return windows.flip(0)

    def traits(self) -> Traits:
        t: NDArray[Any] = self.array("diagonals")[self._stored_index()]
        counts = self._counts()
        energy = float(np.sum(counts * np.square(t, dtype=np.float64)))
        d_out, d_in, length = self.d_out, self.d_in, self._fft_length
        kernel = np.fft.rfft(t, length)

        def product(v: NDArray[Any]) -> NDArray[Any]:
            return np.fft.irfft(kernel * np.fft.rfft(v, length), length)[
                d_in - 1 : d_in - 1 + d_out
            ]

        def transposed(u: NDArray[Any]) -> NDArray[Any]:
            placed = np.zeros(length)
            placed[d_in - 1 : d_in - 1 + d_out] = u
            return np.fft.irfft(kernel.conj() * np.fft.rfft(placed), length)[:d_in]

        return Traits(
            rank=self.rank_bound,
            density=1.0,
            frobenius=math.sqrt(energy),
            spectral=power_iteration(product, transposed, d_in, n_iter=12),
            mean_abs=float(counts @ np.abs(t)) / (d_out * d_in),
            diagonal_mass=min(self.shape) * float(t[d_in - 1]) ** 2 / energy,
        )


@register_family("circulant")
class Circulant(Toeplitz):
    """W[i, j] = c[(i - j) mod N], N = max(d_out, d_in): a square circulant matrix cropped to the
    shape.

    Stored: `diagonals`, c (N,), the first column of the square matrix.
    """

    @property
    def n_params(self) -> int:
        return max(self.shape)

    def _stored_index(self) -> NDArray[np.int64]:
        return np.arange(1 - self.d_in, self.d_out) % max(self.shape)
