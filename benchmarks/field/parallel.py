"""Eight workers at a time: a candidate is chosen while seven others are not measured yet."""

from __future__ import annotations

import random
from collections.abc import Callable

from benchmarks.field.invited import few
from benchmarks.field.problem import EVALUATIONS, Genome, Suite, instance
from benchmarks.field.problems import NASBENCH, table
from benchmarks.field.trajectory import Trajectory

__all__ = ["SUITE", "in_flight"]

_OUT = 8


def in_flight(
    objective: Trajectory,
    seed: int,
    ask: Callable[[], tuple[object, Genome] | None],
    tell: Callable[[object, float], None],
) -> None:
    """Keep `_OUT` candidates out; a random one of them comes back, and another goes out.

    `ask` gives a handle and a genome, or None if there are no more.
    """
    rng = random.Random(f"arrivals {seed}")
    out: list[tuple[object, Genome]] = []
    while True:
        while len(out) < _OUT and (asked := ask()) is not None:
            out.append(asked)
        if not out:
            return
        handle, genome = out.pop(rng.randrange(len(out)))
        tell(handle, objective.number(genome))


SUITE = Suite(
    "parallel",
    "Eight candidates out at a time",
    "The cells of NAS-Bench-201 again, until the best is found or 300 are measured; the rows with "
    "*8 out* choose each candidate while 7 others are out and come back in random order.",
    NASBENCH,
    table,
    n_evaluations=300,
    seeds=20,
    stop=True,
    few=few(["optuna-tpe", "optuna-tpe-8-out"], 6, 3),
    columns=(EVALUATIONS,),
    group=instance,
    rivals=("clso", "clso-8-out", "optuna-tpe", "optuna-tpe-8-out", "random"),
)
