"""Implicit-feedback alternating least squares: a low-rank bigram model from Kneser-Ney log-ratios.

Minimises   sum_seen c_ij (a_i . b_j - S_ij)^2 + sum_ij r_i w_j (a_i . b_j)^2 + ridge (sum_i r_i |a_i|^2 + sum_j w_j |b_j|^2)
over A, B (V, k)

after Hu, Koren & Volinsky (ICDM 2008): seen pairs pull towards their target with the confidence of
their count, unseen pairs towards 0 with a small weight. Then logits = A[x_t] B^T + log p_cont is
the bigram model.

With B fixed, every row i has a k x k system. A change of basis makes the part that all rows share
the identity, and what remains of row i is  (r_i I + sum_j c_ij b_j b_j^T) a_i = sum_j c_ij S_ij b_j
: identity plus rank m, where m is the number of pairs seen in the row. Conjugate gradients solve
that exactly in m + 1 steps (most rows have a handful of pairs) and nearly so in 3, warm-started; no
k x k matrix is ever formed for a row, and rows never seen stay zero."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clso.device import has_triton
from clso.errors import ConfigError
from clso.grown.statistics import BigramStatistics, sparse_rows

if TYPE_CHECKING:
    from clso.grown.triton_rows import RowsByLength

__all__ = ["AlsConfig", "SeenRows", "factorise", "half_step", "hash_noise"]

# of the mean eigenvalue of the shared Gram matrix: directions that no data supports stay small
_RIDGE = 1e-4


@dataclass(frozen=True)
class AlsConfig:
    """Family parameters of the factorisation."""

    rank: int = 126
    iterations: int = 4
    steps: int = 3
    """Conjugate-gradient steps of a half-step."""
    unseen_weight: float = 0.01
    """w0: weight of an unseen pair of average row and column."""
    exponent: float = 0.5
    """Power of row count and column probability in the unseen weight."""
    ridge: float = 0.1
    """Weight of r_i |a_i|^2 and w_j |b_j|^2."""
    start: float = 0.1
    """Size of the random start."""

    def __post_init__(self) -> None:
        for name in ("rank", "iterations", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is at least 1", got=getattr(self, name))
        if self.unseen_weight <= 0:
            raise ConfigError("unseen_weight is positive", got=self.unseen_weight)


class SeenRows:
    """Seen pairs in compressed rows; only rows with a pair are kept: `rows` (R,) are their
    tokens."""

    def __init__(
        self, i: Tensor, j: Tensor, count: Tensor, target: Tensor, vocab_size: int
    ) -> None:
        """From pairs that are sorted by row `i`."""
        self.rows, n = torch.unique_consecutive(i, return_counts=True)
        self.offset = torch.cat([n.new_zeros(1), n.cumsum(0)])
        self.column, self.count, self.weighted_target = j, count, count * target
        self._size = (len(self.rows), vocab_size)

    def solve(self, other: Tensor, row_weight: Tensor, start: Tensor, steps: int) -> Tensor:
        """Conjugate gradients for (r_i I + sum_j c_ij b_j b_j^T) x_i = sum_j c_ij S_ij b_j: (R, k).

        `other` (V, k) holds b, `row_weight` (R,) r, and `start` (R, k) the first x.
        """
        if other.is_cuda and has_triton():
            from clso.grown.triton_rows import solve_rows

            pairs = (self.offset, self.column, self.count, self.weighted_target)
            return solve_rows(self._by_length, *pairs, other, row_weight, start, steps)
        r = row_weight[:, None]  # (R, 1)

        def apply(x: Tensor) -> Tensor:
            return r * x + self.seen_part(x, other)

        x = start  # (R, k), as are residual, direction and image; norm and length are (R, 1)
        residual = self.target_side(other) - apply(x)
        direction, norm = residual, (residual * residual).sum(1, keepdim=True)
        for step in range(steps):
            image = apply(direction)
            length = norm / (direction * image).sum(1, keepdim=True).clamp(min=1e-20)
            x = x + length * direction
            if step + 1 < steps:
                residual = residual - length * image
                new_norm = (residual * residual).sum(1, keepdim=True)
                direction, norm = (
                    residual + (new_norm / norm.clamp(min=1e-20)) * direction,
                    new_norm,
                )
        return x

    def target_side(self, other: Tensor) -> Tensor:
        """sum_j c_ij S_ij other_j for each kept row: (R, k). The platform's sparse kernels hold no
        code for each pair."""
        return self._targets @ other

    def seen_part(self, x: Tensor, other: Tensor) -> Tensor:
        """sum_j c_ij (x_i . other_j) other_j for each kept row: (R, k)."""
        inner = torch.sparse.sampled_addmm(self._pattern, x, other.T, beta=0.0)
        inner.values().mul_(self.count)
        out: Tensor = inner @ other
        return out

    @cached_property
    def _by_length(self) -> RowsByLength:
        from clso.grown.triton_rows import by_length

        return by_length(self.offset)

    @cached_property
    def _pattern(self) -> Tensor:
        return sparse_rows(self.offset, self.column, torch.zeros_like(self.count), self._size)

    @cached_property
    def _targets(self) -> Tensor:
        return sparse_rows(self.offset, self.column, self.weighted_target, self._size)


def half_step(
    seen: SeenRows,
    other: Tensor,
    column_weight: Tensor,
    row_weight: Tensor,
    start: Tensor | None,
    *,
    steps: int,
    ridge: float,
) -> Tensor:
    """The side (V, k) that fits `other` (V, k), by conjugate gradients from `start`; rows without a
    pair are zero."""
    # What all rows share (k, k).
    gram = (other * column_weight[:, None]).T @ other
    k = gram.shape[0]
    gram.diagonal().add_(_RIDGE * gram.diagonal().mean() + ridge)
    # other = basis @ factor^T, and the basis has the identity as its Gram matrix
    factor, _ = torch.linalg.cholesky_ex(gram)
    inverse = torch.linalg.solve_triangular(factor, torch.eye(k, device=gram.device), upper=False)
    # Solve in that basis (R, k), and come back from it.
    x = gram.new_zeros(len(seen.rows), k) if start is None else start[seen.rows] @ factor
    x = seen.solve(other @ inverse.T, row_weight[seen.rows], x, steps)
    out = torch.zeros_like(other)
    out[seen.rows] = x @ inverse
    return out


def factorise(statistics: BigramStatistics, config: AlsConfig) -> tuple[Tensor, Tensor]:
    """Codes of contexts and of targets, A and B (V, rank) float32, so that A[i] . B[j] is about
    S_ij."""
    pairs, target = statistics.pairs, statistics.target
    v = pairs.vocab_size
    by_row = SeenRows(pairs.i, pairs.j, pairs.count, target, v)
    order = torch.argsort(pairs.j, stable=True)
    by_column = SeenRows(pairs.j[order], pairs.i[order], pairs.count[order], target[order], v)
    g = config.exponent
    column_weight = config.unseen_weight * (statistics.p_cont * v) ** g
    row = statistics.row
    row_weight = ((row / row.mean()) ** g).clamp(min=0.01)
    solve = partial(half_step, steps=config.steps, ridge=config.ridge)
    noise = config.start * hash_noise(v, config.rank, pairs.count.device)
    a = solve(by_row, noise, column_weight, row_weight, None)
    b = solve(by_column, a, row_weight, column_weight, None)
    for _ in range(config.iterations - 1):
        a = solve(by_row, b, column_weight, row_weight, a)
        b = solve(by_column, a, row_weight, column_weight, b)
    return a, b


def hash_noise(rows: int, columns: int, device: torch.device, seed: int = 0) -> Tensor:
    """Reproducible noise of unit variance, the same on every device: (rows, columns) float32,
    uniform.

    An integer hash (the finaliser of MurmurHash3, Appleby 2011) of the index, since torch's
    generators differ between CPU and CUDA."""
    index = torch.arange(rows * columns, device=device, dtype=torch.long) + (seed + 1) * 0x9E3779B1
    mask = 0xFFFFFFFF
    h = index & mask
    h = ((h ^ (h >> 16)) * 0x85EBCA6B) & mask
    h = ((h ^ (h >> 13)) * 0xC2B2AE35) & mask
    h = h ^ (h >> 16)
    return ((h.float() / 2**31 - 1.0) * 3**0.5).view(rows, columns)
