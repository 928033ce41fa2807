"""Counting: token pairs at a lag, and Kneser-Ney statistics of them.

Everything works on CPU and CUDA tensors alike and in bounded memory: a text of any length is
counted in chunks, so that the peak is a chunk's sort plus the distinct pairs found (24 bytes each).
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["BigramStatistics", "PairCounts", "count_pairs", "kneser_ney", "sparse_rows"]

_CHUNK = 1 << 24  # tokens counted at once; sorting them takes about 0.5 GB


@dataclass(frozen=True)
class PairCounts:
    """Distinct pairs (row i, column j), sorted by row and then column, and how often each was seen
    (float32)."""

    i: Tensor
    j: Tensor
    count: Tensor
    vocab_size: int

    def __len__(self) -> int:
        return len(self.i)

    def row_sums(self) -> Tensor:
        """Occurrences of each row token (V,)."""
        return _sums(self.i, self.count, self.vocab_size)


def _sums(index: Tensor, values: Tensor, size: int) -> Tensor:
    return torch.bincount(index, weights=values, minlength=size).float()


def count_pairs(tokens: Tensor, vocab_size: int, lag: int = 1) -> PairCounts:
    """Count the pairs (tokens[t - lag], tokens[t]) of a text (n,) int64."""
    keys = torch.empty(0, dtype=torch.long, device=tokens.device)
    counts = torch.empty(0, dtype=torch.long, device=tokens.device)
    left, right = tokens[:-lag], tokens[lag:]
    for a, b in zip(torch.split(left, _CHUNK), torch.split(right, _CHUNK), strict=True):
        new_keys, new_counts = torch.unique(a * vocab_size + b, return_counts=True)
        if not len(keys):
            keys, counts = new_keys, new_counts
            continue
        merged, position = torch.unique(torch.cat([keys, new_keys]), return_inverse=True)
        counts = torch.zeros_like(merged).index_add_(0, position, torch.cat([counts, new_counts]))
        keys = merged
    return PairCounts(keys // vocab_size, keys % vocab_size, counts.float(), vocab_size)


def sparse_rows(offset: Tensor, column: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    """A sparse matrix of compressed rows."""
    with warnings.catch_warnings():
        # torch calls its CSR kernels beta, on stderr
        warnings.filterwarnings("ignore", "Sparse (CSR|invariant)")
        return torch.sparse_csr_tensor(offset, column, values, size=size, check_invariants=False)


@dataclass(frozen=True)
class BigramStatistics:
    """Interpolated Kneser-Ney (Chen & Goodman 1998) seen as a log-linear correction of the
    continuation distribution.

    `target` holds, for each seen pair, S_ij = log(p_KN(j|i) / (lambda_i p_cont(j))); for unseen
    pairs S is 0, since there p_KN(j|i) = lambda_i p_cont(j). `p_cont` (V,) is smoothed, so that no
    token is impossible; `row`, `column` (V,) are occurrences as context and as target, and
    `back_off` (V,) is lambda_i, 1 for contexts that were never seen."""

    pairs: PairCounts
    target: Tensor
    p_cont: Tensor
    row: Tensor
    column: Tensor
    back_off: Tensor


def kneser_ney(
    pairs: PairCounts, *, discount: float = 0.7, smoothing: float = 1.0
) -> BigramStatistics:
    """Kneser-Ney statistics of bigram counts. `smoothing` is added to each token's number of
    distinct left contexts."""
    v, i, j, count = pairs.vocab_size, pairs.i, pairs.j, pairs.count
    row, column = pairs.row_sums(), _sums(j, count, v)
    one = torch.ones_like(count)
    types = _sums(i, one, v)
    p_cont = _sums(j, one, v) + smoothing
    p_cont = p_cont / p_cont.sum()
    back_off = torch.where(row > 0, discount * types / row.clamp(min=1), 1.0)
    target = torch.log1p((count - discount) / (row[i] * back_off[i] * p_cont[j]))
    return BigramStatistics(pairs, target, p_cont, row, column, back_off)
