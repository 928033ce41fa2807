"""Numbers to choose from: does knowing their order help, and does a wrong order hurt?"""

from __future__ import annotations

import random
from dataclasses import replace

from benchmarks.field.invited import few
from benchmarks.field.problem import TUNED, Column, Genome, Problem, Suite, family, shuffled
from benchmarks.field.problems import table

__all__ = ["SUITE", "load"]

_KINDS = ("labels", "numbers", "shuffled")
_DATASETS = ("segment", "vehicle")


def load(name: str, seed: int) -> Problem:
    """`KIND/DATASET` of HPOBench: nothing declared, the order declared, or an order declared that
    the seed has drawn at random."""
    kind, _, dataset = name.partition("/")
    known = table(f"hpobench/{dataset}", seed)
    points = replace(known, name=name, scale=0.01)  # accuracies are shares
    if kind == "labels":
        return points
    numbers = replace(points, ordered=(True,) * len(known.n_choices))
    if kind == "numbers":
        return numbers
    rng = random.Random(f"shuffled {seed}")
    other = shuffled(known.n_choices, rng)

    def evaluate(genome: Genome) -> float:
        value = known.evaluate(other(genome))
        assert isinstance(value, float)
        return value

    return replace(numbers, evaluate=evaluate)


SUITE = Suite(
    "order",
    "Numbers, their order declared or not",
    "HPOBench's perceptrons (Eggensperger et al. 2021, arXiv:2109.06716): 30,000 settings of five "
    "numbers, regret in points of accuracy. *labels*: nobody is told that they are numbers; "
    "*numbers*: CLSO and Optuna are; *shuffled*: the alleles of each gene are in a random order, "
    "which is declared all the same. Choices were made on `segment` and seeds below 100.",
    tuple(f"{kind}/{dataset}" for kind in _KINDS for dataset in _DATASETS),
    load,
    n_evaluations=300,
    rivals=("clso", "clso-no-surrogate", "random", "optuna-tpe"),
    seeds=15,
    first_seed=TUNED,
    few=few(["optuna-tpe"], 3, 6),
    columns=(Column("regret", lambda row: row["regret"], ".3f"),),
    group=family,
)
