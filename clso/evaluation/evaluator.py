"""Evaluators: where candidates are measured. One interface for this process and for workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from clso.errors import ClsoError, EvaluationError
from clso.evaluation.results import Evaluation
from clso.evaluation.usage import NOTHING, Usage
from clso.space import Genome, Objective

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

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """Submit and wait for all; the evaluations come in the order of `genomes`.

        Raises `EvaluationError` where nothing more comes and some genome has no answer.
        """
        done: dict[Genome, Evaluation] = {}
        missing = dict.fromkeys(genomes)
        if missing:
            self.submit(list(missing), fidelity)
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
        self.fidelities = objective.fidelities

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._queue.append((list(genomes), fidelity))

    def completed(self) -> list[Evaluation]:
        if not self._queue:
            return []
        genomes, fidelity = self._queue.pop(0)
        while self._queue and self._queue[0][1] == fidelity:
            genomes += self._queue.pop(0)[0]
        try:
            return self._objective.evaluate(genomes, fidelity)
        except (ClsoError, OSError):
            raise
        except Exception as error:
            raise EvaluationError(
                "an objective reports a failure as a status, and raises nothing",
                got=f"{type(error).__name__}: {error}",
                remedy="Set CLSO_TRACEBACK=1 to see the traceback.",
            ) from error
