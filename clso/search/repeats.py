"""Repeated measurements, where the value of a genome is drawn anew each time.

The lowest of many noisy values is mostly a lucky one. So a share of all measurements goes to the
leader, the genome of the lowest mean: luck unwinds, and another takes its place until one stays."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtrit

from clso.space import Genome
from clso.space.repeated import MOST_REPEATS

__all__ = ["Estimate", "Repeats"]

_SHARE = 0.25  # of the measurements, after the first ones
_FIRST = 40  # measurements before any is repeated: a leader among few is soon another
_LEVEL = 0.95
_CAUTION = 2.0  # standard errors


@dataclass(frozen=True)
class Estimate:
    """The mean of `n` measurements of one genome, all minimised, and where it lies with 95 %
    confidence: infinitely wide while nothing was measured twice."""

    mean: float
    low: float
    high: float
    n: int


class Repeats:
    """What all measurements say of each genome, and which genome is measured again.

    The noise is taken to be normal, and as large for one genome as for another of those that are
    measured again; its variance is pooled over them."""

    def __init__(self) -> None:
        self._values: dict[Genome, list[float]] = {}
        self._n_asked = self._n_repeats = 0

    def add(self, genome: Genome, value: float) -> float:
        """Take in one measurement; the genome's mean."""
        self._values.setdefault(genome, []).append(value)
        return self._mean(genome)

    def n_of(self, genome: Genome) -> int:
        """How often `genome` was measured."""
        return len(self._values.get(genome, ()))

    @property
    def n_repeats(self) -> int:
        """Measurements that were asked for again."""
        return self._n_repeats

    def due(self, ahead: int = 0) -> bool:
        """Whether the measurement after `ahead` others that are to be new is a repetition."""
        return self._n_repeats < _SHARE * (self._n_asked + ahead - _FIRST)

    def new_of(self, n: int) -> int:
        """How many of `n` measurements are to be new, so that the others can be repetitions."""
        return n if self._n_asked < _FIRST else max(1, round((1 - _SHARE) * n))

    def count(self, *, repeats: bool, n: int = 1) -> None:
        """Take note of `n` measurements that were asked for."""
        self._n_asked += n
        self._n_repeats += n * repeats

    def leader(self, out: Collection[Genome] = ()) -> Genome | None:
        """The genome of the lowest mean, the earliest of equal ones, that is not `out` being
        measured again and has not had all its measurements; None if there is none."""
        free = (
            (self._mean(genome), i, genome)
            for i, (genome, values) in enumerate(self._values.items())
            if len(values) < MOST_REPEATS and genome not in out
        )
        return min(free, default=(0.0, 0, None))[2]

    def estimate(self, genome: Genome) -> Estimate:
        """Raises KeyError for a genome without a value."""
        mean, n = self._mean(genome), len(self._values[genome])
        variance, freedom = self._noise()
        if not freedom:
            return Estimate(mean, -math.inf, math.inf, n)
        half = float(stdtrit(freedom, (1 + _LEVEL) / 2)) * math.sqrt(variance / n)
        return Estimate(mean, mean - half, mean + half, n)

    def best(self) -> Genome | None:
        """The genome whose mean is lowest after two standard errors are added: one lucky measurement
        does not win against many."""
        variance, _ = self._noise()
        return min(
            self._values,
            key=lambda g: self._mean(g) + _CAUTION * math.sqrt(variance / len(self._values[g])),
            default=None,
        )

    def means(self) -> dict[Genome, float]:
        """Of each genome, in the order of their first measurements."""
        return {genome: self._mean(genome) for genome in self._values}

    def _mean(self, genome: Genome) -> float:
        values = self._values[genome]
        return values[0] if len(values) == 1 else math.fsum(values) / len(values)

    def _noise(self) -> tuple[float, int]:
        """The variance within genomes, and its degrees of freedom; 0 as long as there are none.

        Sums are exact, so that the order of measurements decides nothing."""
        again = [values for values in self._values.values() if len(values) > 1]
        freedom = sum(len(values) - 1 for values in again)
        return math.fsum(map(_squares, again)) / max(freedom, 1), freedom

    def state_dict(self, *, with_values: bool = True) -> dict[str, Any]:
        """In JSON types. Without the values it is small; then give `load_state_dict` all that was
        measured, in its order."""
        counts: dict[str, Any] = {"n_asked": self._n_asked, "n_repeats": self._n_repeats}
        if with_values:
            counts["values"] = [[list(genome), values] for genome, values in self._values.items()]
        return counts

    def load_state_dict(
        self, state: dict[str, Any], measured: Iterable[tuple[Genome, float]] | None = None
    ) -> None:
        """Continue from `state_dict()`. Raises KeyError, TypeError or ValueError for a damaged
        one."""
        self._values = {}
        if measured is None:
            measured = ((tuple(g), float(v)) for g, values in state["values"] for v in values)
        for genome, value in measured:
            self.add(genome, value)
        self._n_asked, self._n_repeats = int(state["n_asked"]), int(state["n_repeats"])


def _squares(values: list[float]) -> float:
    """Sum of squared differences from the mean."""
    mean = math.fsum(values) / len(values)
    return math.fsum((value - mean) ** 2 for value in values)
