"""The one caller of an objective: what it raises or answers wrongly is said by name, here and in
workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from clso.conversion import as_index
from clso.errors import EvaluationError
from clso.plugins import as_plugin_error
from clso.space.base import Objective, Startable
from clso.space.genome import Genome
from clso.space.results import Evaluation

__all__ = ["answered", "begin", "measure", "rungs"]

_RAISES_NOTHING = "an objective reports a failure as a status, and raises nothing"


def rungs(objective: Objective) -> tuple[int, ...]:
    """The cost of each rung of `objective`. Raises `EvaluationError` if one is no number."""
    return tuple(
        as_index(cost, "the cost of a rung", EvaluationError) for cost in objective.fidelities
    )


def measure(objective: Objective, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
    """What `objective` says of `genomes`, here or in a worker: the one place that calls it and
    waits.

    Raises `EvaluationError` if it raises, or answers something else than was asked.
    """
    return answered(lambda: objective.evaluate(genomes, fidelity), genomes)


def answered(ask: Callable[[], list[Evaluation]], genomes: Sequence[Genome]) -> list[Evaluation]:
    """What `ask` returns, if it is one evaluation a genome, in order. Raises `EvaluationError`."""
    with as_plugin_error(_RAISES_NOTHING, EvaluationError):
        answer: Any = ask()
        found = None if answer is None else list(answer)
    strange = [e for e in found or () if not isinstance(e, Evaluation)]
    if found is None or strange or [e.genome for e in found] != list(genomes):
        got = (
            answer
            if found is None
            else strange[0]
            if strange
            else f"{len(found)} for {len(genomes)}, or others"
        )
        raise EvaluationError(
            "every genome is answered with an Evaluation, in the order of asking", got=got
        )
    return found


def begin(
    objective: Startable, genomes: Sequence[Genome], fidelity: int
) -> Callable[[], list[Evaluation]]:
    """`objective.begin`. Raises `EvaluationError` if it raises."""
    with as_plugin_error(_RAISES_NOTHING, EvaluationError):
        return objective.begin(genomes, fidelity)
