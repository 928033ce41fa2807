"""Several objectives in a search: how a surrogate's predictions rank candidates, and what a run says of its front."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from clso.encoding import Encoder
from clso.engine import ParetoEngine, crowded_order
from clso.objectives import ENERGY, LOSS, Objectives
from clso.space import Genome

if TYPE_CHECKING:
    from clso.screening import Estimator

__all__ = ["front_summary", "predict_energy", "predicted_order"]

Floats = npt.NDArray[np.float64]

_MAX_FIT_ROWS = 512  # the latest energies; bounds the time of a fit in long runs


def predicted_order(
    objectives: Objectives,
    candidates: Sequence[Genome],
    predicted: Floats,
    energy: Floats | None = None,
) -> list[int]:
    """Indices of `candidates`, best first, by NSGA-II's order of their predicted losses and their known costs.

    `energy` are predicted joules; they are needed where energy_j is an objective.
    """
    costs = [objectives.costs(genome) for genome in candidates]
    columns = [
        predicted if name == LOSS else energy if name == ENERGY else np.array([c[name] for c in costs])
        for name in objectives.names
    ]
    return crowded_order(np.stack([np.asarray(c, dtype=np.float64) for c in columns], axis=1))


def predict_energy(
    estimator: Estimator, encoder: Encoder, engine: ParetoEngine, column: int, candidates: Sequence[Genome]
) -> Floats:
    """Joules of `candidates` as `estimator` learns them from the latest evaluations, whose `column` holds theirs."""
    rows = engine.measured[-_MAX_FIT_ROWS:]
    estimator.fit(encoder.encode([e.genome for e in rows]), np.array([e.values[column] for e in rows]))
    return np.asarray(estimator.predict(encoder.encode(candidates)), dtype=np.float64)


def front_summary(engine: ParetoEngine, objectives: Objectives, loss_name: str) -> dict[str, Any]:
    """For result.json: the front's genomes with their values, true evaluations all. `loss_name` says what the loss is of."""
    names = [loss_name if name == LOSS else name for name in objectives.names]
    front = [
        {
            "genome": list(e.genome),
            "alleles": objectives.checked.describe(e.genome),
            "values": dict(zip(names, e.values, strict=True)),
        }
        for e in engine.front
    ]
    return {
        "objectives": names,
        "front": front,
        "hypervolume": engine.hypervolume,
        "hypervolume_reference": dict(zip(names, engine.reference or (), strict=True)),
    }
