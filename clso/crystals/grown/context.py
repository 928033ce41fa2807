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

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["ValueMap", "fit_value_map"]

_ROWS = 1 << 20  # tokens whose features are held at once
_SHRINK = 2.0  # pseudo-occurrences with which a rare token's mean context is drawn to the average one


@dataclass(frozen=True)
class ValueMap:
    """`matrix` (k, k): from an averaged code to what is added. `expected` (V, k): mean(f | x_t) @ matrix, to subtract."""

    matrix: Tensor
    expected: Tensor


def fit_value_map(
    blocks: Tensor, attention: Tensor, a: Tensor, b: Tensor, *, ridge: float = 0.3, damping: float = 1.0
) -> ValueMap:
    """Fit the map for one attention pattern.

    `blocks` (n, T + 1) are the statistics text, `attention` (T, T) the pattern's weights, `a`, `b` (V, k) the codes.
    `ridge` and `damping` are shares of the mean eigenvalue of the two matrices that are inverted.
    """
    v, k = a.shape
    t = blocks.shape[1] - 1
    attention = attention.to(a.device)
    sum_f, sum_r = a.new_zeros(v, k), a.new_zeros(v, k)
    n = a.new_zeros(v)
    ff, fr, rr = (a.new_zeros(k, k) for _ in range(3))
    for part in torch.split(blocks, max(1, _ROWS // t)):
        x, y = part[:, :-1], part[:, 1:].flatten()
        f = (attention @ a[x]).flatten(0, 1)
        r = b[y]
        x = x.flatten()
        sum_f.index_add_(0, x, f)
        sum_r.index_add_(0, x, r)
        n += torch.bincount(x, minlength=v)
        ff, fr, rr = ff + f.T @ f, fr + f.T @ r, rr + r.T @ r
    inverse_n = 1 / n.clamp(min=1)[:, None]
    ff = ff - sum_f.T @ (sum_f * inverse_n)
    fr = fr - sum_f.T @ (sum_r * inverse_n)
    rr = rr - sum_r.T @ (sum_r * inverse_n)
    sigma = rr / (n.clamp(min=1) - 1).sum().clamp(min=1)
    for matrix, share in ((ff, ridge), (sigma, damping)):
        matrix.diagonal().add_(share * matrix.diagonal().mean() + 1e-9)
    m = torch.linalg.solve(ff, fr)
    m = torch.linalg.solve(sigma, m.T).T
    average = sum_f.sum(0) / n.sum().clamp(min=1)
    expected = (sum_f + _SHRINK * average) / (n[:, None] + _SHRINK)
    return ValueMap(m, expected @ m)
