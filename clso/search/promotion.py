"""Rungs inside the search: asynchronous successive halving (Li et al. 2020, arXiv:1810.05934).

As soon as a measured genome is among the best quarter of its rung, it is measured on the next one,
which costs more and says more. What it showed there stands for it from then on: the search follows
genomes that hold up, not those that were lucky on few tokens."""

from __future__ import annotations

from collections.abc import Iterable
from statistics import median

from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["KEPT", "Promotion"]

KEPT = 4
"""One candidate in so many goes on to the next rung."""


class Promotion:
    """Who is measured on which rung, and what that says on the scale of the first one."""

    def __init__(self, n_rungs: int) -> None:
        self._rungs: list[dict[Genome, Evaluation]] = [{} for _ in range(n_rungs)]

    def observe(self, evaluations: Iterable[Evaluation]) -> None:
        """Take in evaluations of any rung; failures are measured on no other."""
        for evaluation in evaluations:
            self._rungs[evaluation.fidelity][evaluation.genome] = evaluation

    def lookup(self, rung: int, genome: Genome) -> Evaluation | None:
        return self._rungs[rung].get(genome)

    def due(self, rung: int) -> list[Genome]:
        """Genomes to measure on `rung`: of the best quarter of the one below, those that were not."""
        below = sorted((e for e in self._rungs[rung - 1].values() if e.ok), key=lambda e: e.value)
        best = (e.genome for e in below[: len(below) // KEPT])
        return [genome for genome in best if genome not in self._rungs[rung]]

    def standing(self) -> dict[Genome, float]:
        """The value of each genome above the first rung, by its highest one.

        A rung's values are moved by the median of what its genomes showed on the first, for another
        number of tokens may have another level.
        """
        found: dict[Genome, float] = {}
        first = self._rungs[0]
        for rung in self._rungs[1:]:
            ok = [e for e in rung.values() if e.ok]
            if not ok:
                continue
            by = median(first[e.genome].value - e.value for e in ok)
            found |= {e.genome: e.value + by for e in ok}
        return found
