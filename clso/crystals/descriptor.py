"""What a surrogate sees of a crystal: a short vector of structural traits, cheap even at 50257 x
128."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "DESCRIPTOR_NAMES",
    "Traits",
    "dense_traits",
    "descriptor_vector",
    "gaussian_block_traits",
    "power_iteration",
    "spectral_norm",
]

DESCRIPTOR_NAMES: tuple[str, ...] = (
    "rank_ratio",  # rank bound / min(d_out, d_in)
    "density",  # share of entries that are not zero
    "log_frobenius",  # log(1 + ||W||_F / sqrt(d_out)); log 2 for a crystal of unit gain
    "log_spectral",  # log(1 + ||W||_2), estimated
    "mean_abs",  # mean |W_ij| * sqrt(d_in)
    "diagonal_mass",  # share of ||W||_F^2 on the main diagonal
    "log_params_ratio",  # log((1 + n_params) / (1 + d_out * d_in))
    "flops_ratio",  # multiply-adds of matmul / those of a dense product
)

Vector = NDArray[Any]
_GAUSSIAN_ABS = math.sqrt(2 / math.pi)  # E|g| of a standard normal


@dataclass(frozen=True)
class Traits:
    """Structure of one matrix W (d_out, d_in); exact or expected over seeds, as each family
    documents."""

    rank: int
    density: float
    frobenius: float
    spectral: float
    mean_abs: float
    diagonal_mass: float


def descriptor_vector(
    traits: Traits, shape: tuple[int, int], n_params: int, token_flops: int
) -> NDArray[np.float32]:
    """`traits` and costs as float32 of length `len(DESCRIPTOR_NAMES)`, in that order."""
    d_out, d_in = shape
    return np.array(
        [
            traits.rank / min(shape),
            traits.density,
            math.log1p(traits.frobenius / math.sqrt(d_out)),
            math.log1p(traits.spectral),
            traits.mean_abs * math.sqrt(d_in),
            traits.diagonal_mass,
            math.log1p(n_params) - math.log1p(d_out * d_in),
            token_flops / (2 * d_out * d_in),
        ],
        dtype=np.float32,
    )


def power_iteration(
    product: Callable[[Vector], Vector],
    transposed: Callable[[Vector], Vector],
    d_in: int,
    n_iter: int = 24,
) -> float:
    """Largest singular value of W from `product` (v -> W v) and `transposed` (u -> W^T u).

    A lower bound that is within a few per cent after 24 iterations from a fixed start (Golub & Van
    Loan, 7.3.1)."""
    vector: Vector = np.random.Generator(np.random.Philox(0)).standard_normal(
        d_in, dtype=np.float32
    )
    sigma = 0.0
    for _ in range(n_iter):
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:
            return 0.0
        image = product(vector / norm)
        sigma = float(np.linalg.norm(image))
        vector = transposed(image)
    return sigma


def spectral_norm(matrix: Vector) -> float:
    """Estimate of the largest singular value of a dense `matrix` (rows, columns)."""
    return power_iteration(lambda v: matrix @ v, lambda u: matrix.T @ u, matrix.shape[1])


def dense_traits(matrix: Vector, rank: int) -> Traits:
    """Traits measured on a dense `matrix` (d_out, d_in): for families that know no closed form."""
    energy = float(np.sum(np.square(matrix, dtype=np.float64)))
    on_diagonal = float(np.sum(np.square(np.diagonal(matrix), dtype=np.float64)))
    return Traits(
        rank=rank,
        density=np.count_nonzero(matrix) / matrix.size,
        frobenius=math.sqrt(energy),
        spectral=spectral_norm(matrix),
        mean_abs=float(np.mean(np.abs(matrix))),
        diagonal_mass=on_diagonal / energy if energy else 0.0,
    )


def gaussian_block_traits(
    shape: tuple[int, int],
    blocks: Sequence[tuple[int, int]],
    n_diagonal: float,
    frobenius: float,
    abs_over_rms: float = _GAUSSIAN_ABS,
) -> Traits:
    """Expected traits of a matrix that is block diagonal, up to a permutation, with centred i.i.d.
    entries.

    Args:
        shape: (d_out, d_in).
        blocks: (rows, columns) of each block.
        n_diagonal: expected count of non-zero entries on the main diagonal.
        frobenius: the exact Frobenius norm.
        abs_over_rms: E|w| / sqrt(E w^2) of one entry; sqrt(2/pi) for a Gaussian.

    The spectral norm is s (sqrt(m) + sqrt(n)) for an m x n block of standard deviation s (Davidson
    & Szarek 2001)."""
    nnz = sum(m * n for m, n in blocks)
    n_total = shape[0] * shape[1]
    rms = frobenius / math.sqrt(nnz)
    return Traits(
        rank=sum(min(block) for block in blocks),
        density=nnz / n_total,
        frobenius=frobenius,
        # The asymptotic law exceeds the Frobenius norm, a strict bound, for a handful of entries.
        spectral=min(frobenius, rms * max(math.sqrt(m) + math.sqrt(n) for m, n in blocks)),
        mean_abs=abs_over_rms * rms * nnz / n_total,
        diagonal_mass=n_diagonal / nnz,
    )
