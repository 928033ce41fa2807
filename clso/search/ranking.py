"""Several objectives in a search: how a surrogate's predictions rank candidates, and what a run
says of its front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clso.engine import ParetoEngine, crowded_order
from clso.screening.encoding import Encoder
from clso.space import Genome
from clso.space.objectives import ENERGY, LOSS, Objectives

if TYPE_CHECKING:
    from clso.screening.screener import Estimator

__all__ = ["predict_energy", "predicted_order"]

Floats = npt.NDArray[np.float64]

_MAX_FIT_ROWS = 512  # the latest energies; bounds the time of a fit in long runs


def predicted_order(
    objectives: Objectives,
    candidates: Sequence[Genome],
    predicted: Floats,
    energy: Floats | None = None,
) -> list[int]:
    """Indices of `candidates`, best first, by NSGA-II's order of their predicted losses and their
    known costs.

    `energy` are predicted joules; they are needed where energy_j is an objective.
    """
    costs = [objectives.costs(genome) for genome in candidates]
    columns = [
        predicted
        if name == LOSS
        else energy
        if name == ENERGY
        else np.array([c[name] for c in costs])
        for name in objectives.names
    ]
    return crowded_order(np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1))


def predict_energy(
    estimator: Estimator,
    encoder: Encoder,
    engine: ParetoEngine,
    column: int,
    candidates: Sequence[Genome],
) -> Floats:
    """Joules of `candidates` as `estimator` learns them from the latest evaluations, whose `column`
    holds theirs."""
    rows = engine.measured[-_MAX_FIT_ROWS:]
    estimator.fit(
        encoder.encode([e.genome for e in rows]), np.array([e.values[column] for e in rows])
    )
    return np.asarray(estimator.predict(encoder.encode(candidates)), dtype=np.float64)
