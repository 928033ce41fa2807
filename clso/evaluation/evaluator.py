"""Evaluators: where candidates are measured. One interface for this process and for workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from clso.energy.usage import NOTHING, Usage
from clso.errors import EvaluationError
from clso.space import Genome, Objective
from clso.space.base import Startable
from clso.space.measuring import answered, begin, measure, rungs
from clso.space.results import Evaluation

__all__ = ["Evaluator", "LocalEvaluator"]


class Evaluator(ABC):
    """Takes genomes, gives evaluations back in any order. Not thread-safe."""

    fidelities: tuple[int, ...]
    capacity: int = 4
    """Candidates that an asynchronous search keeps submitted."""

    @abstractmethod
    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        """Queue genomes for measuring at a rung."""

    @abstractmethod
    def completed(self) -> list[Evaluation]:
        """What has finished since the last call; waits for something, and is empty only when
        nothing is queued."""

    def start(self) -> None:
        """Set to work on what is queued, if that needs no waiting. `completed` does what is
        left."""

    def evaluate(
        self, genomes: Sequence[Genome], fidelity: int, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Evaluation]:
        """Submit, and wait for all; the evaluations come in the order of `genomes`. `meanwhile` is
        called before the wait.

        Raises `EvaluationError` if nothing more comes and some genome has no answer.
        """
        done: dict[Genome, Evaluation] = {}
        missing = dict.fromkeys(genomes)
        if missing:
            self.submit(list(missing), fidelity)
            self.start()
        meanwhile()
        while missing:
            finished = self.completed()
            if not finished:
                raise EvaluationError(
                    "every genome is answered with an evaluation",
                    problem=f"no evaluation of {list(missing)}",
                )
            for evaluation in finished:
                done[evaluation.genome] = evaluation
                missing.pop(evaluation.genome, None)
        return [done[g] for g in genomes]

    def usage(self) -> Usage:
        """What was spent so far if the run's own meter does not see it: on other machines."""
        return NOTHING

    def close(self) -> None:
        """Free what the evaluator holds."""


class LocalEvaluator(Evaluator):
    """Measures in this process, all that is queued for a rung in one batch."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._queue: list[tuple[list[Genome], int]] = []
        self._started: list[tuple[Callable[[], list[Evaluation]], list[Genome]]] = []
        self.fidelities = rungs(objective)

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._queue.append((list(genomes), fidelity))

    def start(self) -> None:
        if self._queue and isinstance(self._objective, Startable):
            genomes, fidelity = self._batch()
            self._started.append((begin(self._objective, genomes, fidelity), genomes))

    def completed(self) -> list[Evaluation]:
        if self._started:
            finish, genomes = self._started.pop(0)
            return answered(finish, genomes)
        return measure(self._objective, *self._batch()) if self._queue else []

    def _batch(self) -> tuple[list[Genome], int]:
        """All that is queued for the rung of the first in line."""
        genomes, fidelity = self._queue.pop(0)
        while self._queue and self._queue[0][1] == fidelity:
            genomes += self._queue.pop(0)[0]
        return genomes, fidelity
