"""Configurations that fail: tables like those of tuning GPU kernels, about half of them invalid."""

from __future__ import annotations

import math
from functools import cache

from benchmarks.field.invited import EVERYBODY, SLOW_ON_MIXED, few
from benchmarks.field.kernels import GENES, table
from benchmarks.field.problem import REGRET, TUNED, Column, Problem, Suite, instance

__all__ = ["SUITE", "TABLES", "load"]

TABLES = 10


@cache
def _kernel(number: int) -> Problem:
    times = {g: math.nan if math.isinf(ms) else ms for g, ms in table(number).items()}
    least = min(ms for ms in times.values() if not math.isnan(ms))
    return Problem(
        f"kernels/{number}",
        tuple(map(len, GENES.values())),
        times.__getitem__,
        least,
        scale=least,
        ordered=(True,) * len(GENES),
    )


def load(name: str, seed: int) -> Problem:
    """A card and kernel as they are; every seed searches the same table."""
    return _kernel(int(instance(name)))


SUITE = Suite(
    "failures",
    "Configurations that fail",
    "Tables of 27,648 settings like those of tuning a GPU kernel, about half of which cannot run "
    "(`kernels.py` draws the card and the kernel; the generator was changed twice after results of "
    "tables 0 to 9 had been seen, on which choices were made; these are 100 to 109). Failed "
    "evaluations count. All genes are declared as numbers. The regret is by how much the best time "
    "exceeds the table's least, in % of it.",
    tuple(f"kernels/{TUNED + i}" for i in range(TABLES)),
    load,
    n_evaluations=300,
    rivals=(
        "clso",
        "clso-failures-unused",
        *(name for name in EVERYBODY[1:] if name not in SLOW_ON_MIXED),
    ),
    seeds=8,
    first_seed=TUNED,
    few=few(["optuna-tpe", "optuna-nsga2"], 1, TABLES),
    columns=(
        REGRET,
        Column("regret at 100, %", lambda row: 100 * row["regret_third"]),
        Column("failed of 300", lambda row: row["n_failed"], ".0f"),
    ),
)
