"""Who is invited to which suites, by the names of contestants.py.

`EVERYBODY` takes categorical genes and one objective; `BITS` takes thousands of evaluations of many
bits within seconds; `SEVERAL` takes several objectives. `SLOW` costs a quarter of a second an
evaluation, and `SLOW_ON_MIXED` a fiftieth if genes have different numbers of alleles: `few` says on how
many seeds and problems they run."""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["BITS", "EVERYBODY", "SEVERAL", "SLOW", "SLOW_ON_MIXED", "Few", "few"]

Few = dict[str, tuple[int, int]]
"""Contestant -> seeds and problems, the first ones."""

EVERYBODY = (
    "clso",
    "clso-no-surrogate",
    "random",
    "regularized-evolution",
    "regularized-evolution-20-5",
    "optuna-tpe",
    "optuna-gp",
    "optuna-nsga2",
    "pymoo-ga",
    "nevergrad-one-plus-one",
    "nevergrad-ngopt",
    "smac3",
    "deap-mu-plus-lambda",
    "deap-ea-simple",
)
BITS = (
    "clso",
    "clso-no-surrogate",
    "random",
    "local-search",
    "regularized-evolution-20-5",
    "pymoo-ga",
    "nevergrad-one-plus-one",
    "deap-mu-plus-lambda",
    "deap-ea-simple",
)
SEVERAL = ("clso", "clso-no-surrogate", "random", "optuna-tpe", "optuna-nsga2", "pymoo-ga")
SLOW = ("optuna-gp", "smac3")
SLOW_ON_MIXED = (*SLOW, "nevergrad-one-plus-one", "nevergrad-ngopt")


def few(names: Iterable[str] = SLOW, seeds: int = 1, problems: int = 2) -> Few:
    """Fewer runs of those that cost much."""
    return dict.fromkeys(names, (seeds, problems))
