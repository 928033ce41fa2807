"""Figures from records: expected running times, paired comparisons, ranks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, median

from benchmarks.field.problem import Row

__all__ = ["ahead", "ert", "mean_ranks", "median_time", "pair", "sign_test"]


def median_time(rows: Sequence[Row]) -> float:
    """Median evaluations to the optimum; runs that miss it count as infinite."""
    return median(row["found_at"] if row["solved"] else math.inf for row in rows)


def ert(rows: Sequence[Row]) -> float:
    """Expected running time: all evaluations spent, over the number of runs that found the
    optimum."""
    solved = sum(row["solved"] for row in rows)
    spent = sum(row["found_at"] if row["solved"] else row["n_evaluations"] for row in rows)
    return spent / solved if solved else math.inf


def ahead(a: Sequence[Row], b: Sequence[Row]) -> int:
    """1 if `a` is better, -1 if `b` is, 0 for equal: by expected running time, by mean value
    if neither solved."""
    x, y = ert(a), ert(b)
    if math.isinf(x) and math.isinf(y):
        x, y = fmean(row["best"] for row in a), fmean(row["best"] for row in b)
    return (x < y) - (x > y)


def _key(row: Row) -> tuple[float, int]:
    """Better runs are smaller: a lower value, or the same value sooner."""
    return round(row["best"], 9), row["found_at"]


def pair(a: Sequence[Row], b: Sequence[Row]) -> tuple[int, int]:
    """Seeds on which `a` beats `b`, and on which `b` beats `a`."""
    other = {row["seed"]: row for row in b}
    outcomes = [(_key(row), _key(other[row["seed"]])) for row in a if row["seed"] in other]
    return sum(x < y for x, y in outcomes), sum(x > y for x, y in outcomes)


def sign_test(wins: int, losses: int) -> float:
    """Two-sided probability of a split at least as uneven as this one among equals."""
    n, k = wins + losses, min(wins, losses)
    tail = sum(math.comb(n, i) for i in range(k + 1))
    return min(1.0, tail / 2.0 ** (n - 1))


def mean_ranks(groups: Mapping[str, Sequence[Row]]) -> dict[str, float]:
    """Mean over problems and seeds of each contestant's rank (1 is best, ties share) among those of
    the same run."""
    runs: dict[tuple[str, int], dict[str, tuple[float, int]]] = {}
    for name, rows in groups.items():
        for row in rows:
            runs.setdefault((row["problem"], row["seed"]), {})[name] = _key(row)
    ranks: dict[str, list[float]] = {name: [] for name in groups}
    for keys in runs.values():
        if len(keys) == len(groups):
            for name, key in keys.items():
                below, equal = (
                    sum(k < key for k in keys.values()),
                    sum(k == key for k in keys.values()),
                )
                ranks[name].append(below + (equal + 1) / 2)
    return {name: fmean(values) for name, values in ranks.items() if values}
