"""Measuring a genome more than once: each time with another seed, if the space's objective can."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol, runtime_checkable

from clso.errors import ConfigError
from clso.space.base import Objective
from clso.space.genome import Genome
from clso.space.measuring import measure
from clso.space.results import Evaluation

__all__ = ["MOST_REPEATS", "Repeatable", "RepeatedObjective"]

MOST_REPEATS = 24
"""Measurements of one genome, at most."""


@runtime_checkable
class Repeatable(Protocol):
    """What an objective may offer besides, if what it draws comes from a seed."""

    def evaluate_again(self, genomes: Sequence[Genome], repeat: int) -> list[Evaluation]:
        """`evaluate` on the first rung, with the seeds of the `repeat`-th repetition, from 1 on."""
        ...


class RepeatedObjective:
    """A noisy objective: its rungs are the repetitions, all of one cost.

    Without `evaluate_again` it is asked anew, and has to draw by itself.

    Raises
    ------
    ConfigError
        The objective has rungs of its own.
    """

    def __init__(self, objective: Objective) -> None:
        if len(objective.fidelities) > 1:
            raise ConfigError(
                "a noisy objective is measured on one rung", got=list(objective.fidelities)
            )
        self._inner = objective
        self.fidelities = tuple(objective.fidelities) * MOST_REPEATS

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """Measure, for the first time or for the `fidelity`-th time again."""
        if fidelity and isinstance(self._inner, Repeatable):
            found = self._inner.evaluate_again(genomes, fidelity)
        else:
            found = measure(self._inner, genomes, 0)
        return [replace(evaluation, fidelity=fidelity) for evaluation in found]
