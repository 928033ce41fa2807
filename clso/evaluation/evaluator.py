"""Evaluators: where candidates are measured. One interface for this process and for workers."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

from clso.conversion import as_index
from clso.energy.usage import NOTHING, Usage
from clso.errors import EvaluationError
from clso.plugins import as_plugin_error
from clso.space import Genome, Objective
from clso.space.base import Startable
from clso.space.results import Evaluation

__all__ = ["Evaluator", "LocalEvaluator", "measure", "rungs"]

_RAISES_NOTHING = "an objective reports a failure as a status, and raises nothing"


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
        self._started: list[tuple[Callable[[], list[Evaluation]], list[Genome]]] = []
        self.fidelities = rungs(objective)

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._queue.append((list(genomes), fidelity))

    def start(self) -> None:
        if self._queue and isinstance(self._objective, Startable):
            genomes, fidelity = self._batch()
            with as_plugin_error(_RAISES_NOTHING, EvaluationError):
                self._started.append((self._objective.begin(genomes, fidelity), genomes))

    def completed(self) -> list[Evaluation]:
        if self._started:
            finish, genomes = self._started.pop(0)
            return _answered(finish, genomes)
        return measure(self._objective, *self._batch()) if self._queue else []

    def _batch(self) -> tuple[list[Genome], int]:
        """All that is queued for the rung of the first in line."""
        genomes, fidelity = self._queue.pop(0)
        while self._queue and self._queue[0][1] == fidelity:
            genomes += self._queue.pop(0)[0]
        return genomes, fidelity


def rungs(objective: Objective) -> tuple[int, ...]:
    """The cost of each rung of `objective`. Raises `EvaluationError` where one is no number."""
    return tuple(as_index(cost, "the cost of a rung", EvaluationError) for cost in objective.fidelities)


def measure(objective: Objective, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
    """What `objective` says of `genomes`, here or in a worker: the one place that calls it and waits.

    Raises `EvaluationError` where it raises, or answers something else than was asked.
    """
    return _answered(lambda: objective.evaluate(genomes, fidelity), genomes)


def _answered(ask: Callable[[], list[Evaluation]], genomes: Sequence[Genome]) -> list[Evaluation]:
    with as_plugin_error(_RAISES_NOTHING, EvaluationError):
        answer: Any = ask()
        found = None if answer is None else list(answer)
    strange = [e for e in found or () if not isinstance(e, Evaluation)]
    if found is None or strange or [e.genome for e in found] != list(genomes):
        got = answer if found is None else strange[0] if strange else f"{len(found)} for {len(genomes)}, or others"
        raise EvaluationError("every genome is answered with an Evaluation, in the order of asking", got=got)
    return found
