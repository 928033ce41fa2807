"""Value maps: what a head that averages codes of earlier tokens should add to the bigram code, by
least squares.

The bigram part explains the next token's code given the current token. What is left to explain, and
what the context can say beyond the current token, are both taken within each current token (a
fixed-effects regression: subtract from the target code b_y and from the context features f their
means over the occurrences of x_t). With Sigma the covariance of what is left, one Fisher-scoring
step of the log-linear model is the ridge regression

    M = (F~^T F~ + ridge)^-1 F~^T R~ Sigma^-1,       F~ = f - mean(f | x_t),  R~ = b_y - mean(b_y | x_t),

and the hidden code becomes A[x_t] + gain (f - mean(f | x_t)) M. Demeaning is what makes it work on
the very text that was counted: the bigram code has seen every pair of it, and an ordinary residual
would be biased towards zero."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.grown.statistics import sparse_rows

__all__ = ["Regression", "ValueMap", "fit_map", "fit_value_maps", "low_rank"]

_ROWS = 1 << 18  # tokens whose features are held at once
_SHRINK = 2.0
"""Pseudo-occurrences with which a rare token's mean context is drawn to the average one."""

Regression = Callable[[Tensor], tuple[Tensor, Tensor]]
"""From tokens (T + 1, n), a column a block, to C sets of features (C, T, n, q) and what each is to
explain (T, n, k)."""


@dataclass(frozen=True)
class ValueMap:
    """`matrix` (C, q, k): from features to what is added. `expected` (C, V, k): mean(f | x_t) @
    matrix, to subtract."""

    matrix: Tensor
    expected: Tensor


def fit_value_maps(
    blocks: Tensor,
    attentions: Tensor,
    a: Tensor,
    b: Tensor,
    *,
    ridge: float = 0.3,
    damping: float = 1.0,
) -> ValueMap:
    """Fit one map for each attention pattern, each as if it were the only one.

    `blocks` (n, T + 1) are the statistics text, `attentions` (C, T, T) the patterns' weights, `a`,
    `b` (V, k) the codes."""
    attentions = attentions.to(a.device)

    def regression(tokens: Tensor) -> tuple[Tensor, Tensor]:
        codes = a[tokens[:-1]]  # (T, n, k)
        averages = attentions.flatten(0, 1) @ codes.flatten(1)  # (C T, n k)
        return averages.view(len(attentions), *codes.shape), b[tokens[1:]]

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

    `ridge` and `damping` are shares of the mean eigenvalue of the two matrices that are inverted.
    `between` is the price of `expected`: 0 if it will be subtracted, 1 for ordinary least
    squares on features as they are if it will not."""
    n = torch.zeros(vocab_size, device=blocks.device)
    sums: list[Tensor] = []
    for part in torch.split(blocks, max(1, _ROWS // (blocks.shape[1] - 1))):
        tokens = part.T.contiguous()
        f, r = regression(tokens)  # (C, T, n, q), (T, n, k)
        by_token = _SumsByToken(tokens[:-1].flatten(), vocab_size)
        n += by_token.row_lengths
        # (C, q, q), (C, q, k), (k, k); then sums by token (C, V, q), (V, k).
        new = [_product(f, f), _product(f, r), _product(r, r)]
        new += [torch.stack([by_token(one) for one in f.flatten(1, 2)]), by_token(r.flatten(0, 1))]
        sums = [x + y for x, y in zip(sums, new, strict=True)] if sums else new
    ff, fr, rr, sum_f, sum_r = sums
    # Take each token's own means away: what is left varies within a token's occurrences.
    inverse_n = 1 / n.clamp(min=1)[:, None]
    ff = ff - (1 - between) * (sum_f.mT @ (sum_f * inverse_n))
    fr = fr - sum_f.mT @ (sum_r * inverse_n)
    rr = rr - sum_r.mT @ (sum_r * inverse_n)
    sigma = rr / (n.clamp(min=1) - 1).sum().clamp(min=1)
    # The map (C, q, k), and what it adds on average behind each token (C, V, k).
    m = _solve(_damped(ff, ridge), fr)
    m = _solve(_damped(sigma, damping), m.mT).mT
    average = sum_f.sum(1, keepdim=True) / n.sum().clamp(min=1)
    expected = (sum_f + _SHRINK * average) / (n[:, None] + _SHRINK)
    return ValueMap(m, expected @ m)


def low_rank(
    fitted: ValueMap, a: Tensor, count: Tensor, rank: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Value maps of codes as products of (C, k, rank) and (C, rank, k), and their `expected` (C, V, k).

    Kept are the directions in which the maps move the codes `a` (V, k) of tokens that occur `count` (V,) times most. If
    `rank` is k, the first factor is the identity.
    """
    k = fitted.matrix.shape[-1]
    if rank >= k:
        identity = torch.eye(k, device=a.device).expand_as(fitted.matrix)
        return identity, fitted.matrix, fitted.expected
    moment = (a * (count / count.sum())[:, None]).T @ a
    moved = fitted.matrix.mT @ moment @ fitted.matrix
    main = torch.linalg.eigh(moved.double())[1][..., -rank:].float()  # (C, k, rank), orthonormal
    return fitted.matrix @ main, main.mT, fitted.expected @ main @ main.mT


def _product(f: Tensor, r: Tensor) -> Tensor:
    """Sums of products over tokens: (..., T, n, q) and (..., T, n, k) -> (..., q, k)."""
    if f.is_cuda:
        # of one position each, then their sum: one over all would have a few programs do the work
        return (f.mT @ r).sum(-3)
    return f.flatten(-3, -2).mT @ r.flatten(-3, -2)


class _SumsByToken:
    """Sums the rows of (N, q) by their tokens (N,): (V, q). A sparse product, since atomic
    additions queue up for "the"."""

    def __init__(self, tokens: Tensor, vocab_size: int) -> None:
        lengths = torch.bincount(tokens, minlength=vocab_size)
        offset = torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])
        size, one = (vocab_size, len(tokens)), torch.ones(len(tokens), device=tokens.device)
        self.row_lengths = lengths.float()
        self._matrix = sparse_rows(offset, torch.argsort(tokens, stable=True), one, size)

    def __call__(self, rows: Tensor) -> Tensor:
        return self._matrix @ rows


def _solve(positive: Tensor, right: Tensor) -> Tensor:
    """positive^-1 @ right for positive definite matrices, in steps that do not wait for a GPU."""
    factor, _ = torch.linalg.cholesky_ex(positive)
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    solution: Tensor = torch.linalg.solve_triangular(factor.mT, half, upper=True)
    return solution


def _damped(matrix: Tensor, share: float) -> Tensor:
    """Symmetric matrices (..., q, q) with a share of their mean diagonal element added to the
    diagonal."""
    diagonal = matrix.diagonal(dim1=-2, dim2=-1)
    return matrix + torch.diag_embed(
        (share * diagonal.mean(-1, keepdim=True) + 1e-9).expand_as(diagonal)
    )
