"""Evaluators: where candidates are measured. One interface for this process and for workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from clso.errors import ClsoError, EvaluationError
from clso.evaluation.results import Evaluation
from clso.evaluation.usage import NOTHING, Usage
from clso.space import Genome, Objective, Startable

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
        """What has finished since the last call; waits for something, and is empty only when nothing is queued."""

    def start(self) -> None:
        """Set to work on what is queued, where that needs no waiting. `completed` does what is left."""

    def evaluate(
        self, genomes: Sequence[Genome], fidelity: int, meanwhile: Callable[[], None] = lambda: None
    ) -> list[Evaluation]:
        """Submit, and wait for all; the evaluations come in the order of `genomes`. `meanwhile` is called before the wait.

        Raises `EvaluationError` where nothing more comes and some genome has no answer.
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
                raise EvaluationError("every genome is answered with an evaluation", got=f"none for {list(missing)}")
            for evaluation in finished:
                done[evaluation.genome] = evaluation
                missing.pop(evaluation.genome, None)
        return [done[g] for g in genomes]

    def usage(self) -> Usage:
        """What was spent so far where the run's own meter does not see it: on other machines."""
        return NOTHING

    def close(self) -> None:
        """Free what the evaluator holds."""


class LocalEvaluator(Evaluator):
    """Measures in this process, all that is queued for a rung in one batch."""

    def __init__(self, objective: Objective) -> None:
        self._objective = objective
        self._queue: list[tuple[list[Genome], int]] = []
        self._started: list[Callable[[], list[Evaluation]]] = []
        self.fidelities = objective.fidelities

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._queue.append((list(genomes), fidelity))

    def start(self) -> None:
        if self._queue and isinstance(self._objective, Startable):
            self._started.append(self._objective.begin(*self._batch()))

    def completed(self) -> list[Evaluation]:
        if not self._queue and not self._started:
            return []
        try:
            return self._started.pop(0)() if self._started else self._objective.evaluate(*self._batch())
        except (ClsoError, OSError):
            raise
        except Exception as error:
            raise EvaluationError(
                "an objective reports a failure as a status, and raises nothing",
                got=f"{type(error).__name__}: {error}",
                remedy="Set CLSO_TRACEBACK=1 to see the traceback.",
            ) from error

    def _batch(self) -> tuple[list[Genome], int]:
        """All that is queued for the rung of the first in line."""
        genomes, fidelity = self._queue.pop(0)
        while self._queue and self._queue[0][1] == fidelity:
            genomes += self._queue.pop(0)[0]
        return genomes, fidelity
