"""Two rungs: one training of a network, or all that the table has of its setting."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from benchmarks.field.problem import TUNED, Problem, Suite, instance
from benchmarks.field.problems import table, trainings

__all__ = ["SUITE", "load"]

_NETWORKS = (
    "hpobench/kc1",
    "hpobench/phoneme",
    "hpobench/segment",
    "hpobench/vehicle",
    "hpolib/protein_structure",
    "hpolib/slice_localization",
)


@cache
def _drawn(name: str, seed: int) -> Problem:
    known, runs = table(name, seed), trainings(name)
    n_trainings = len(next(iter(runs.values())))
    rng = random.Random(f"first training {seed}")
    first = {genome: values[rng.randrange(n_trainings)] for genome, values in runs.items()}
    return replace(known, cheap=(1 / n_trainings, first.__getitem__))


def load(name: str, seed: int) -> Problem:
    """The seed decides which of its trainings a setting's lower rung has: always the same one."""
    return replace(_drawn(instance(name), seed), name=name)


SUITE = Suite(
    "rungs",
    "Two rungs",
    "HPOBench's perceptrons and HPOLib's networks again: the lower rung is one training of a "
    "setting, the upper one all of them (5, of HPOLib 4) and costs as many times as much. The "
    "budget is 100 evaluations of the upper rung, spent on either. Nothing was tuned on them.",
    tuple(f"rungs/{name}" for name in _NETWORKS),
    load,
    n_evaluations=100,
    rivals=("clso-promote", "clso-finalists", "clso", "random"),
    seeds=10,
    first_seed=TUNED,
)
