"""Low-rank crystals cut from a given matrix by its singular value decomposition."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clso.crystals.base import Crystal
from clso.crystals.params import check_shape, require
from clso.crystals.registry import register_family
from clso.errors import ConfigError

__all__ = ["Svd", "cut", "cuts"]


@register_family("svd")
class Svd(Crystal):
    """W = U V with `u` (d_out, rank) and `v` (rank, d_in), float32: made from tensors, by `cut`,
    and from no seed.

    The scale is that of the matrix it was cut from: `gain` changes nothing.
    """

    @property
    def rank_bound(self) -> int:
        return int(self.tensors["u"].shape[1])

    def apply(self, x: Tensor) -> Tensor:
        return (x @ self.values("v", x).T) @ self.values("u", x).T

    def dense(self, dtype: torch.dtype) -> Tensor:
        return self.values("u", dtype) @ self.values("v", dtype)

    def token_flops(self) -> int:
        return 2 * self.rank_bound * (self.d_out + self.d_in)


def cut(matrix: Tensor, rank: int) -> Svd:
    """The best approximation of `matrix` (d_out, d_in) that has `rank`, on the matrix's device.

    With singular values s_1 >= s_2 >= ..., no matrix of that rank is nearer: the Frobenius error is
    sqrt(sum of s_i^2 over i > rank), the spectral one s_{rank + 1} (Eckart & Young 1936; Mirsky
    1960). The singular values are in `u`; the rows of `v` are orthonormal.

    Raises:
        ConfigError: a rank outside 1 ... min(d_out, d_in), or a matrix that is empty or not finite.
    """
    return cuts(matrix, [rank])[0]


def cuts(matrix: Tensor, ranks: Sequence[int]) -> list[Svd]:
    """`cut` at each of the ranks, by one decomposition (in float64, so that the full rank loses
    next to nothing)."""
    shape = check_shape(tuple(matrix.shape))
    for rank in ranks:
        require(
            1 <= rank <= min(shape),
            f"a cut of a {shape[0]} x {shape[1]} matrix has a rank of 1 to {min(shape)}",
            got=rank,
            remedy="The zero crystal has rank 0.",
        )
    if n_bad := int((~torch.isfinite(matrix)).sum()):
        raise ConfigError(
            "a matrix to cut is finite",
            problem=f"{n_bad} entries are NaN or infinite",
            remedy="Check the checkpoint.",
        )
    left, singular, right = torch.linalg.svd(matrix.double(), full_matrices=False)
    u, v = (left * singular).float(), right.float()
    # Copies: a slice would keep the whole factors in memory.
    return [
        Svd(
            shape,
            tensors={
                "u": u[:, :r].clone(memory_format=torch.contiguous_format),
                "v": v[:r].clone(),
            },
        )
        for r in ranks
    ]
