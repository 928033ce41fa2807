"""Noise: each evaluation draws one of a cell's trainings in NAS-Bench-201."""

from __future__ import annotations

import random
from functools import cache
from statistics import fmean

from benchmarks.field.invited import EVERYBODY, SLOW, few
from benchmarks.field.problem import TUNED, Column, Genome, Problem, Suite, instance
from benchmarks.field.problems import DATA_SETS, trainings

__all__ = ["SUITE", "load"]


@cache
def _means(dataset: str) -> dict[Genome, float]:
    return {genome: fmean(values) for genome, values in trainings(f"nasbench201/{dataset}").items()}


def load(name: str, seed: int) -> Problem:
    """The seed decides what is drawn."""
    dataset = instance(name)
    drawn, means = trainings(f"nasbench201/{dataset}"), _means(dataset)
    rng = random.Random(f"draw {seed}")
    return Problem(
        name,
        (5,) * 6,
        lambda genome: rng.choice(drawn[genome]),
        min(means.values()),
        truth=means.__getitem__,
    )


SUITE = Suite(
    "noise",
    "Noise",
    "Each evaluation draws one of a cell's trainings in NAS-Bench-201; repetitions count. The regret "
    "is the reported cell's mean over its trainings, in points of accuracy behind the best cell's; "
    "*too good by* is that mean less the value that the optimiser states (of the least one that it "
    "saw, if it states none). Choices were made on CIFAR-100 and ImageNet16-120 and seeds below 100.",
    tuple(f"noise/{name}" for name in DATA_SETS),
    load,
    n_evaluations=300,
    rivals=("clso-noisy", *(name for name in EVERYBODY if name not in SLOW)),
    seeds=10,
    first_seed=TUNED,
    few=few(["optuna-tpe", "optuna-nsga2", "nevergrad-one-plus-one", "nevergrad-ngopt"], 3, 3),
    columns=(
        Column("regret", lambda row: row["regret"], ".3f"),
        Column("too good by", lambda row: row["too_good"], ".3f"),
    ),
    group=instance,
)
