"""Descriptions, bootstrap intervals, paired tests and effect sizes: the one home of statistics of
seeds, windows and examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy  # loads scipy.stats, which is slow, when it is first used

__all__ = [
    "CONFIDENCE",
    "cliffs_delta",
    "compare_pairs",
    "describe",
    "hedges_g",
    "holm",
    "interval_of_ratio",
    "median_run",
    "paired_tests",
]

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
        "sign_p": float(scipy.stats.binomtest(lower, len(moved)).pvalue) if len(moved) else 1.0,
        "wilcoxon_p": float(scipy.stats.wilcoxon(moved).pvalue) if len(moved) else 1.0,
        "smallest_p": min(1.0, 2.0 ** (1 - len(difference))),
    }


def describe(values: Sequence[float], *, seed: int = 0) -> dict[str, float]:
    """Number, mean, sample deviation (0 of one value), and a percentile bootstrap interval of the
    mean."""
    x = np.asarray(values, dtype=np.float64)
    low, high = _interval_of_mean(x, seed)
    std = float(x.std(ddof=1)) if len(x) > 1 else 0.0
    return {"n": len(x), "mean": float(x.mean()), "std": std, "low": low, "high": high}


def hedges_g(own: Sequence[float], other: Sequence[float]) -> float | None:
    """Difference of means in pooled deviations, corrected for small samples (Hedges 1981); None if
    nothing deviates.

    >>> round(hedges_g([2, 4, 7, 3, 7, 35, 8, 9], [3, 5, 6, 8, 8, 2, 4, 8]), 3)
    0.475
    """
    a, b = (np.asarray(v, dtype=np.float64) for v in (own, other))
    free = len(a) + len(b) - 2
    if free < 1:
        return None
    pooled = float(((len(a) - 1) * _variance(a) + (len(b) - 1) * _variance(b)) / free)
    if pooled == 0:
        return None
    return float((a.mean() - b.mean()) / pooled**0.5 * (1 - 3 / (4 * free - 1)))


def cliffs_delta(own: Sequence[float], other: Sequence[float]) -> float:
    """How much more often a value of `own` is above one of `other` than below it, from -1 to 1
    (Cliff 1993)."""
    u = float(scipy.stats.mannwhitneyu(own, other, method="asymptotic").statistic)
    return 2 * u / (len(own) * len(other)) - 1


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for their number, step down (Holm 1979), in their order.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    corrected, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = highest
    return corrected


def compare_pairs(
    own: Sequence[float], other: Sequence[float], *, seed: int = 0
) -> dict[str, float | None]:
    """Mean of own - other over pairs with a bootstrap interval, Wilcoxon's signed-rank p, Hedges' g
    and Cliff's delta."""
    a, b = (np.asarray(v, dtype=np.float64) for v in (own, other))
    difference = a - b
    low, high = _interval_of_mean(difference, seed)
    moved = difference[difference != 0]
    return {
        "n": len(difference),
        "difference": float(difference.mean()),
        "low": low,
        "high": high,
        "p": float(scipy.stats.wilcoxon(moved).pvalue) if len(moved) else 1.0,
        "hedges_g": hedges_g(own, other),
        "cliffs_delta": cliffs_delta(own, other),
    }


def _interval_of_mean(x: Matrix, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    piece = max(1, min(_RESAMPLES, 2_000_000 // len(x)))  # resamples held at once
    means = [
        x[rng.integers(len(x), size=(piece, len(x)))].mean(axis=1)
        for _ in range(-(-_RESAMPLES // piece))
    ]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(np.concatenate(means), (tail, 1 - tail))
    return float(low), float(high)


def _variance(x: Matrix) -> float:
    return float(x.var(ddof=1)) if len(x) > 1 else 0.0
