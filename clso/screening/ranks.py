"""Rank correlation of predicted with true values."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

__all__ = ["rank_correlation"]


def rank_correlation(pairs: Iterable[tuple[float, float]]) -> float | None:
    """Spearman correlation of (predicted, true) pairs, ties at their mean rank.

    None for fewer than 3 pairs or equal true values, which tell nothing; 0 for equal predictions,
    which rank nothing."""
    values = np.array(list(pairs), dtype=np.float64)
    if len(values) < 3:
        return None
    predicted, true = _centred_ranks(values[:, 0]), _centred_ranks(values[:, 1])
    predicted_spread, true_spread = float(predicted @ predicted), float(true @ true)
    if true_spread == 0:
        return None
    if predicted_spread == 0:
        return 0.0
    return float(predicted @ true) / math.sqrt(predicted_spread * true_spread)


def _centred_ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Ranks less their mean, ties at their mean rank: how many values are below minus how many are
    above, halved."""
    ordered = np.sort(values)
    ranks: npt.NDArray[np.float64] = (
        ordered.searchsorted(values) + ordered.searchsorted(values, side="right") * 1.0
    )
    return (ranks - len(values)) / 2
