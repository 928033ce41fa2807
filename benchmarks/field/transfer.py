"""Warm starts: a search after another one, of a related problem or of one that misleads."""

from __future__ import annotations

import random
from dataclasses import replace
from functools import cache

from benchmarks.field import ours
from benchmarks.field.problem import (
    REGRET,
    TUNED,
    Column,
    Genome,
    Problem,
    Suite,
    family,
    instance,
    shuffled,
)
from benchmarks.field.problems import table
from benchmarks.field.trajectory import minimise

__all__ = ["SUITE", "load"]

_EARLIER = 100  # evaluations
_PAIRS = (
    ("nasbench201/cifar10", "nasbench201/imagenet"),
    ("nasbench201/cifar100", "nasbench201/cifar10"),
    ("hpobench/kc1", "hpobench/phoneme"),
    ("hpobench/segment", "hpobench/vehicle"),
    ("hpolib/protein_structure", "hpolib/slice_localization"),
)


@cache
def _earlier(source: str, seed: int) -> tuple[tuple[Genome, float], ...]:
    run = minimise(ours.clso, table(source, seed), _EARLIER, seed + 10_000)
    return tuple((genome, float(value)) for genome, value in run.steps)  # type: ignore[arg-type]


def load(name: str, seed: int) -> Problem:
    """`related/NUMBER`: after a search of the other problem of a pair. `misleading/NUMBER`: the
    alleles of what that search measured are shuffled, by the seed."""
    kind, _, number = name.partition("/")
    source, target = _PAIRS[int(number)]
    known, earlier = table(target, seed), _earlier(source, seed)
    if kind == "misleading":
        other = shuffled(known.n_choices, random.Random(f"misleading {seed}"))
        earlier = tuple((other(genome), value) for genome, value in earlier)
    return replace(known, name=name, earlier=earlier)


SUITE = Suite(
    "transfer",
    "After another search",
    f"A search of {_EARLIER} evaluations on one data set comes before that of another: "
    + ", ".join(f"{instance(a)} before {instance(b)}" for a, b in _PAIRS)
    + ". What it cost is not counted. *misleading*: the alleles of what it measured are shuffled, "
    "so that it says nothing. Nothing was tuned on them.",
    tuple(f"{kind}/{i}" for kind in ("related", "misleading") for i in range(len(_PAIRS))),
    load,
    n_evaluations=60,
    rivals=("clso", "clso-warm", "earlier-best", "random"),
    seeds=10,
    first_seed=TUNED,
    columns=(REGRET, Column("regret at 20, %", lambda row: 100 * row["regret_third"])),
    group=family,
)
