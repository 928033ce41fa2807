"""Variation and selection on plain genomes, in the form of a DEAP toolbox.

DEAP's own `selTournament`, `cxUniform` and `mutUniformInt` take most of an engine's time: they draw
one random number a gene, compare `Fitness` objects, and may "mutate" an allele into itself. The
functions here draw from the same distributions (mutation: among the other alleles only) in C loops
and a few random numbers, from an explicit generator. DEAP's operators can be registered in their
place under `borrowed_random`, which lends them the engine's generator."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import compress
from math import log1p
from operator import ne
from typing import Any

from deap import base

from clso.space import Genome

__all__ = [
    "Individual",
    "borrowed_random",
    "flip",
    "heavy_tailed",
    "jump",
    "make_toolbox",
    "mutate",
    "select",
    "uniform_crossover",
]


Change = Callable[[list[int], int], None]
"""Gives one gene of a child another allele, in place."""


class MinimisedFitness(base.Fitness):  # type: ignore[misc]
    """One objective, minimised."""

    weights = (-1.0,)


class Individual(list[int]):
    """A genome with its fitness, in the form that DEAP's operators work on."""

    def __init__(self, genome: Sequence[int], value: float) -> None:
        super().__init__(genome)
        self.value = value

    @cached_property
    def fitness(self) -> Any:
        """What DEAP's operators compare. Ours do without, and making one takes as long as breeding
        half a child."""
        return MinimisedFitness((self.value,))

    @cached_property
    def genome(self) -> Genome:
        """As it was made: members of a population are copied before they are varied."""
        return tuple(self)


@contextmanager
def borrowed_random(rng: random.Random) -> Iterator[None]:
    """Run a block with the global `random` continuing `rng`; both continue correctly afterwards."""
    outer = random.getstate()
    random.setstate(rng.getstate())
    try:
        yield
    finally:
        rng.setstate(random.getstate())
        random.setstate(outer)


def make_toolbox(
    n_choices: Sequence[int],
    *,
    tournament: int,
    mutation: float,
    rng: random.Random,
    change: Change | None = None,
) -> base.Toolbox:
    """DEAP's toolbox with `select(population) -> parent`, `mate(a, b)`, `mutate(child)`,
    `jump(child)` and `flip(child)`, in place.

    `n_choices` holds the number of alleles of each gene. `change(child, gene)` gives one gene
    another allele; by default each other one is as likely. Register another function to replace
    one.
    """
    free = [gene for gene, n in enumerate(n_choices) if n > 1]
    changes = {"n_choices": n_choices, "free": free, "rng": rng, "change": change}
    toolbox = base.Toolbox()
    toolbox.register("select", select, size=tournament, rng=rng)
    toolbox.register("mate", uniform_crossover, rng=rng)
    toolbox.register("mutate", mutate, rate=mutation, **changes)
    toolbox.register("jump", jump, **changes)
    toolbox.register("flip", flip, **changes)
    return toolbox


def select(population: Sequence[Individual], size: int, rng: random.Random) -> Individual:
    """The best of `size` members drawn with replacement; of equal ones, the first drawn."""
    draw, n = rng.random, len(population)
    best = population[int(draw() * n)]
    for _ in range(size - 1):
        other = population[int(draw() * n)]
        if other.value < best.value:
            best = other
    return best


def uniform_crossover(a: list[int], b: list[int], rng: random.Random) -> None:
    """Swap each gene with probability 1/2, in place. Only genes that differ cost a random bit."""
    differ = list(compress(range(len(a)), map(ne, a, b)))
    bits = rng.getrandbits(len(differ)) if differ else 0
    for gene in differ:
        if bits & 1:
            a[gene], b[gene] = b[gene], a[gene]
        bits >>= 1


def mutate(
    child: list[int],
    n_choices: Sequence[int],
    free: Sequence[int],
    rate: float,
    rng: random.Random,
    change: Change | None = None,
) -> None:
    """Each free gene changes to another allele with probability `rate`, in place.

    The gaps between changed genes are drawn (they are geometric), so that the cost grows with the
    changes, not the genes."""
    if rate <= 0:
        return
    draw, n = rng.random, len(free)
    scale = 1 / log1p(-rate) if rate < 1 else 0.0
    at = int(log1p(-draw()) * scale)
    while at < n:
        _change(child, free[at], n_choices, rng, change)
        at += 1 + int(log1p(-draw()) * scale)


def flip(
    child: list[int],
    n_choices: Sequence[int],
    free: Sequence[int],
    rng: random.Random,
    change: Change | None = None,
) -> None:
    """Exactly one free gene changes to another allele, in place."""
    if free:
        _change(child, free[int(rng.random() * len(free))], n_choices, rng, change)


def jump(
    child: list[int],
    n_choices: Sequence[int],
    free: Sequence[int],
    rng: random.Random,
    change: Change | None = None,
) -> None:
    """k random changes, in place, with P(k >= m) = 1/m^2: mostly one, at times many, as far as all
    genes.

    A heavy tail leaves local optima without a rate to tune (Doerr et al. 2017, arXiv:1703.03334).
    """
    draw, n = rng.random, len(free)
    for _ in range(heavy_tailed(n, rng)):
        _change(child, free[int(draw() * n)], n_choices, rng, change)


def heavy_tailed(most: int, rng: random.Random) -> int:
    """How many changes a jump makes, at most `most`."""
    return min(most, int((1 - rng.random()) ** -0.5))


def _change(
    child: list[int],
    gene: int,
    n_choices: Sequence[int],
    rng: random.Random,
    change: Change | None,
) -> None:
    if change is not None:
        change(child, gene)
        return
    allele = int(rng.random() * (n_choices[gene] - 1))
    child[gene] = allele + (allele >= child[gene])
