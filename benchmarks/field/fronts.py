"""Two unknown objectives: error and latency of NAS-Bench-201's cells, both measured."""

from __future__ import annotations

from functools import cache

import numpy as np

from benchmarks.field.invited import SEVERAL, few
from benchmarks.field.problem import TUNED, Column, Genome, Problem, Suite, instance
from benchmarks.field.problems import DATA_SETS

__all__ = ["SUITE", "load"]

_PLACES = 5 ** np.arange(6)[::-1]


@cache
def _cells(dataset: str) -> Problem:
    import moocore

    from clso.search_spaces.nasbench201 import read_table

    error, latency_s, _ = read_table(dataset)
    points = np.stack([error, latency_s], axis=1)  # (15625, 2)
    front = points[moocore.is_nondominated(points)]
    reference = front.max(0) + 0.1 * (front.max(0) - front.min(0))
    whole = float(moocore.hypervolume(front, ref=reference))

    def evaluate(genome: Genome) -> tuple[float, ...]:
        return tuple(points[int(np.dot(genome, _PLACES))].tolist())

    return Problem(
        f"fronts/{dataset}",
        (5,) * 6,
        evaluate,
        whole,
        scale=whole,
        reference=tuple(reference.tolist()),
    )


def load(name: str, seed: int) -> Problem:
    """A data set's cells; every seed searches the same table."""
    return _cells(instance(name))


SUITE = Suite(
    "fronts",
    "Two unknown objectives",
    "Error and latency of NAS-Bench-201's cells, both measured. The share is the hypervolume of "
    "what was found over that of the table's front, up to a reference a tenth of the front's width "
    "behind it. Choices were made on CIFAR-100 and seeds below 100.",
    tuple(f"fronts/{name}" for name in DATA_SETS),
    load,
    n_evaluations=300,
    rivals=SEVERAL,
    seeds=10,
    first_seed=TUNED,
    columns=(Column("share", lambda row: 1 - row["regret"], ".3f", larger_is_better=True),),
    few=few(["optuna-tpe"], 3, 3),
    group=instance,
)
