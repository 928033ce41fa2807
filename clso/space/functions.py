"""Objectives over batches of genomes. A failure is a status with its traceback, and only the
culprit's."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.conversion import as_floats
from clso.errors import EvaluationError
from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["FunctionObjective", "measure_batch"]


class FunctionObjective:
    """A plain function to be minimised: `function` takes n genomes and returns n values, shape
    (n,)."""

    fidelities: tuple[int, ...] = (1,)

    def __init__(self, function: Callable[[Sequence[Genome]], npt.NDArray[Any]]) -> None:
        self.function = function

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        """One `Evaluation` a genome, in order; no tokens are counted."""
        return measure_batch(self._values, genomes, fidelity, n_tokens=0)

    def _values(self, genomes: Sequence[Genome]) -> list[float]:
        values = np.asarray(self.function(genomes), dtype=np.float64)
        if values.shape != (len(genomes),):
            raise ValueError(
                f"{len(genomes)} genomes have values of shape ({len(genomes)},), not {values.shape}"
            )
        return [float(v) for v in values]


def measure_batch(
    function: Callable[[Sequence[Genome]], Sequence[float]],
    genomes: Sequence[Genome],
    fidelity: int,
    *,
    n_tokens: int,
    started: Callable[[], Sequence[float]] | None = None,
) -> list[Evaluation]:
    """All of `genomes` in one call; if that raises, one by one. `n_tokens` is what one genome
    costs. `started` gives the values of all, if that call was made before.

    What is no number counts as raised, and so does `sys.exit`; only Ctrl-C ends more than a
    candidate."""
    if not genomes:
        return []
    values: Sequence[float] | None = None
    try:
        answer = function(genomes) if started is None else started()
        values = as_floats(answer, "the values of genomes", EvaluationError)
        if len(values) != len(genomes):
            raise EvaluationError(
                f"{len(genomes)} genomes have {len(genomes)} values", got=len(values)
            )
    except KeyboardInterrupt:
        raise
    except BaseException:
        values = None
        if len(genomes) == 1:
            return [
                Evaluation(genomes[0], fidelity, (), "failed", n_tokens, traceback.format_exc())
            ]
    if values is None:  # out of the handler, so that a traceback does not tell of the batch's
        return [measure_batch(function, [g], fidelity, n_tokens=n_tokens)[0] for g in genomes]
    return [
        Evaluation.measured(g, fidelity, (v,), n_tokens)
        for g, v in zip(genomes, values, strict=True)
    ]
