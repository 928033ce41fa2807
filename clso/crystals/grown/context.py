"""Value maps: what a head that averages codes of earlier tokens should add to the bigram code, by least squares.

The bigram part explains the next token's code given the current token. What is left to explain, and what the context can
say beyond the current token, are both taken within each current token (a fixed-effects regression: subtract from the
target code b_y and from the context features f their means over the occurrences of x_t). With Sigma the covariance of
what is left, one Fisher-scoring step of the log-linear model is the ridge regression

    M = (F~^T F~ + ridge)^-1 F~^T R~ Sigma^-1,       F~ = f - mean(f | x_t),  R~ = b_y - mean(b_y | x_t),

and the hidden code becomes A[x_t] + gain (f - mean(f | x_t)) M. Demeaning is what makes it work on the very text that was
counted: the bigram code has seen every pair of it, and an ordinary residual would be biased towards zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Regression", "ValueMap", "fit_map", "fit_value_maps"]

_ROWS = 1 << 18  # tokens whose features are held at once
_SHRINK = 2.0  # pseudo-occurrences with which a rare token's mean context is drawn to the average one

Regression = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From blocks (n, T + 1) to C sets of features (C, n T, q) and what each of them is to explain (n T, k)."""


@dataclass(frozen=True)
class ValueMap:
    """`matrix` (C, q, k): from features to what is added. `expected` (C, V, k): mean(f | x_t) @ matrix, to subtract."""

    matrix: Tensor
    expected: Tensor


def fit_value_maps(
    blocks: Tensor, attentions: Tensor, a: Tensor, b: Tensor, *, ridge: float = 0.3, damping: float = 1.0
) -> ValueMap:
    """Fit one map for each attention pattern, each as if it were the only one.

    `blocks` (n, T + 1) are the statistics text, `attentions` (C, T, T) the patterns' weights, `a`, `b` (V, k) the codes.
    """
    attentions = attentions.to(a.device)

    def regression(part: Tensor) -> tuple[Tensor, Tensor]:
        averages = torch.matmul(attentions[:, None], a[part[:, :-1]])
        return averages.flatten(1, 2), b[part[:, 1:].flatten()]

    return fit_map(blocks, regression, len(a), ridge=ridge, damping=damping)


def fit_map(
    blocks: Tensor,
    regression: Regression,
    vocab_size: int,
    *,
    ridge: float = 0.3,
    damping: float = 1.0,
    between: float = 0.0,
) -> ValueMap:
    """The ridge regression above, for any features of the context.

    `ridge` and `damping` are shares of the mean eigenvalue of the two matrices that are inverted. `between` is the price of
    `expected`: 0 where it will be subtracted, 1 for ordinary least squares on features as they are, where it will not.
    """
    sums: tuple[Tensor, ...] | None = None
    for part in torch.split(blocks, max(1, _ROWS // (blocks.shape[1] - 1))):
        x = part[:, :-1].flatten()
        f, r = regression(part)
        if sums is None:
            (c, _, q), k = f.shape, r.shape[1]
            sum_f, sum_r, n = f.new_zeros(c, vocab_size, q), f.new_zeros(vocab_size, k), f.new_zeros(vocab_size)
            sums = (f.new_zeros(c, q, q), f.new_zeros(c, q, k), f.new_zeros(k, k))
        sum_f.index_add_(1, x, f)
        sum_r.index_add_(0, x, r)
        n.index_add_(0, x, n.new_ones(1).expand(len(x)))
        ff, fr, rr = sums
        sums = (ff + f.mT @ f, fr + f.mT @ r, rr + r.mT @ r)
    assert sums is not None
    ff, fr, rr = sums
    inverse_n = 1 / n.clamp(min=1)[:, None]
    ff = ff - (1 - between) * (sum_f.mT @ (sum_f * inverse_n))
    fr = fr - sum_f.mT @ (sum_r * inverse_n)
    rr = rr - sum_r.mT @ (sum_r * inverse_n)
    sigma = rr / (n.clamp(min=1) - 1).sum().clamp(min=1)
    m = _solve(_damped(ff, ridge), fr)
    m = _solve(_damped(sigma, damping), m.mT).mT
    average = sum_f.sum(1, keepdim=True) / n.sum().clamp(min=1)
    expected = (sum_f + _SHRINK * average) / (n[:, None] + _SHRINK)
    return ValueMap(m, expected @ m)


def _solve(positive: Tensor, right: Tensor) -> Tensor:
    """positive^-1 @ right for positive definite matrices, in steps that do not wait for a GPU."""
    factor, _ = torch.linalg.cholesky_ex(positive)
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return solution


def _damped(matrix: Tensor, share: float) -> Tensor:
    """Symmetric matrices (..., q, q) with a share of their mean diagonal element added to the diagonal."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return matrix + torch.diag_embed((share * diagonal.mean(-1, keepdim=True) + 1e-9).expand_as(diagonal))
