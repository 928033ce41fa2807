"""What the optimisers themselves cost: functions whose own time is next to nothing."""

from __future__ import annotations

from benchmarks.field.problem import REGRET, Column, Problem, Suite, family
from benchmarks.field.problems import onemax, pbo, table

__all__ = ["COST", "SUITE", "TRUST"]


def load(name: str, seed: int) -> Problem:
    return {"onemax": onemax, "pbo": pbo}.get(family(name), table)(name, seed)


COST = Column("CPU, us", lambda row: 1e6 * row["cpu_s"] / row["n_evaluations"], ".0f")
_IN_FORCE = Column("with the surrogate in force, us", lambda row: row.get("trusted_us", 0.0), ".0f")
_SHARE = Column("of the evaluations, %", lambda row: 100 * row.get("trusted", 0.0), ".0f")
_CHEAP = (
    "clso",
    "clso-no-surrogate",
    "clso-by-generation",
    "random",
    "regularized-evolution-20-5",
    "pymoo-ga",
    "nevergrad-one-plus-one",
    "deap-mu-plus-lambda",
    "deap-ea-simple",
)

SUITE = Suite(
    "overhead",
    "Overhead",
    "CPU time of one evaluation, all optimisers in one session, on OneMax of 100 bits and the cells "
    "of NAS-Bench-201, whose own time is a few microseconds. Of CLSO also what one costs while the "
    "surrogate is believed, and in which share of the run it is.",
    ("onemax/100", "nasbench201/cifar10", "nasbench201/imagenet"),
    load,
    n_evaluations=1000,
    rivals=_CHEAP,
    seeds=2,
    columns=(COST, _IN_FORCE, _SHARE),
    group=family,
    always_anew=True,
)


TRUST = Suite(
    "trust",
    "Trust in long runs",
    "Three of PBO's functions with linkage, and OneMax, where a surrogate that ranked well early may rank "
    "badly later. In which share of the evaluations CLSO's is believed, in which of the last fifth, "
    "and how often belief was lost and won back.",
    ("onemax/100", "pbo/19-IsingRing", "pbo/22-MIS", "pbo/24-ConcatenatedTrap"),
    load,
    n_evaluations=5000,
    rivals=("clso", "clso-no-surrogate"),
    seeds=5,
    columns=(
        REGRET,
        Column("believed, %", lambda row: 100 * row.get("trusted", 0.0), ".0f"),
        Column("in the last fifth, %", lambda row: 100 * row.get("trusted_last", 0.0), ".0f"),
        Column("lost", lambda row: float(row.get("n_lost", 0)), ".1f"),
        Column("won back", lambda row: float(row.get("n_won_back", 0)), ".1f"),
    ),
)
