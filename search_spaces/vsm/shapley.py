"""Shapley values of the levels: each coalition's controller is raised anew, and scored by SPL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from itertools import combinations
from math import factorial

from clso.search_spaces.vsm.genes import LEVELS

__all__ = ["coalition_key", "coalitions", "shapley_values"]


def coalition_key(levels: Collection[str]) -> str:
    """Such as "S1+S5", in the order of the levels; "" for none."""
    return "+".join(level for level in LEVELS if level in levels)


def coalitions() -> Iterator[tuple[str, ...]]:
    """All 64 sets of levels, the small ones first."""
    for size in range(len(LEVELS) + 1):
        yield from combinations(LEVELS, size)


def shapley_values(worth: Mapping[str, float]) -> dict[str, float]:
    """Each level's share of worth(all) - worth(none), by `coalition_key` (Shapley 1953). They sum to it."""
    n, value = len(LEVELS), _of(worth)
    shares = dict.fromkeys(LEVELS, 0.0)
    for coalition in coalitions():
        weight = (
            factorial(len(coalition)) * factorial(n - len(coalition) - 1)
            if len(coalition) < n
            else 0
        )
        for level in LEVELS:
            if level not in coalition:
                gain = value((*coalition, level)) - value(coalition)
                shares[level] += weight / factorial(n) * gain
    return shares


def _of(worth: Mapping[str, float]) -> Callable[[Collection[str]], float]:
    return lambda levels: worth[coalition_key(levels)]
