"""Rank correlation of predicted with true values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

__all__ = ["rank_correlation"]


def rank_correlation(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Spearman correlation of (predicted, true) pairs, ties at their mean rank.

    None for fewer than 3 pairs or equal true values, which tell nothing; 0 for equal predictions, which
    rank nothing.
    """
    values = np.array(list(pairs), dtype=np.float64).reshape(-1, 2)
    if len(values) < 3:
        return None
    ranks = np.empty_like(values)
    for column in (0, 1):
        _, group, size = np.unique(values[:, column], return_inverse=True, return_counts=True)
        ranks[:, column] = (np.cumsum(size) - (size - 1) / 2)[group]
    ranks -= ranks.mean(axis=0)
    predicted_spread, true_spread = (ranks**2).sum(axis=0)
    if true_spread == 0:
        return None
    if predicted_spread == 0:
        return 0.0
    return float(ranks[:, 0] @ ranks[:, 1] / math.sqrt(predicted_spread * true_spread))
