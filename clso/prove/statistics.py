"""Paired tests and bootstrap intervals over seeds and windows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.stats import binomtest, wilcoxon

__all__ = ["CONFIDENCE", "interval_of_ratio", "median_run", "paired_tests"]

CONFIDENCE = 0.95
_RESAMPLES = 10_000
Matrix = npt.NDArray[np.float64]


def median_run(values: Matrix) -> float:
    """Median over seeds of the mean over windows; values (n_windows, n_seeds), each a mean over a
    seed's whole runs."""
    return float(np.median(values.mean(axis=0)))


def interval_of_ratio(own: Matrix, other: Matrix, *, seed: int = 0) -> dict[str, Any]:
    """`median_run(own) / median_run(other)` with a percentile bootstrap interval (Efron &
    Tibshirani 1993, ch. 13).

    Both are (n_windows, n_seeds) over the same seeds. Seeds are drawn in pairs, windows for each
    side by itself, so that both kinds of chance are in the interval."""
    rng = np.random.default_rng(seed)
    n_seeds = own.shape[1]
    seeds = rng.integers(n_seeds, size=(_RESAMPLES, 1, n_seeds))

    def resampled(values: Matrix) -> Matrix:
        windows = rng.integers(len(values), size=(_RESAMPLES, len(values), 1))
        drawn: Matrix = np.median(values[windows, seeds].mean(axis=1), axis=1)
        return drawn

    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(resampled(own) / resampled(other), (tail, 1 - tail))
    value = median_run(own) / median_run(other)
    return {"value": value, "low": float(low), "high": float(high), "confidence": CONFIDENCE}


def paired_tests(own: Sequence[float], other: Sequence[float], *, seed: int = 0) -> dict[str, Any]:
    """Two-sided sign and Wilcoxon signed-rank tests (Wilcoxon 1945) of own - other, and its median
    with an interval.

    `smallest_p` is what as many pairs can give at best.
    """
    difference = np.asarray(own, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    moved = difference[difference != 0]
    rng = np.random.default_rng(seed)
    drawn = np.median(
        difference[rng.integers(len(difference), size=(_RESAMPLES, len(difference)))], axis=1
    )
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(drawn, (tail, 1 - tail))
    lower = int((moved < 0).sum())
    return {
        "n": len(difference),
        "own_lower": lower,
        "median_difference": float(np.median(difference)),
        "low": float(low),
        "high": float(high),
        "confidence": CONFIDENCE,
        "sign_p": float(binomtest(lower, len(moved)).pvalue) if len(moved) else 1.0,
        "wilcoxon_p": float(wilcoxon(moved).pvalue) if len(moved) else 1.0,
        "smallest_p": min(1.0, 2.0 ** (1 - len(difference))),
    }
