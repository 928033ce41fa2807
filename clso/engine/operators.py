"""DEAP's variation and selection on plain genomes, driven by the engine's own random stream.

DEAP's operators draw from the module-level `random`. `borrowed_random` lends them the engine's generator for the
length of a block and puts the caller's state back, so that no other code can disturb a run or be disturbed by it.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from deap import base, tools

from clso.space import Genome

__all__ = ["Individual", "borrowed_random", "make_children", "point_mutation"]


class MinimisedFitness(base.Fitness):  # type: ignore[misc]
    """One objective, minimised."""

    weights = (-1.0,)


class Individual(list[int]):
    """A genome with its fitness, in the form that DEAP's operators work on."""

    def __init__(self, genome: Sequence[int], value: float) -> None:
        super().__init__(genome)
        self.fitness: Any = MinimisedFitness((value,))  # what DEAP compares
        self.value = value

    @property
    def genome(self) -> Genome:
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


def make_children(
    population: Sequence[Individual],
    n: int,
    n_choices: Sequence[int],
    *,
    tournament: int,
    crossover: float,
    mutation: float,
) -> list[Genome]:
    """`n` children: tournament selection, uniform crossover of pairs, per-gene uniform mutation.

    Call it under `borrowed_random`. `n_choices` holds the number of alleles of each gene.
    """
    parents = tools.selTournament(population, n + n % 2, tournament)
    up = [c - 1 for c in n_choices]
    low = [0] * len(up)
    children: list[Genome] = []
    for mother, father in zip(parents[::2], parents[1::2], strict=True):
        pair = list(mother), list(father)
        if random.random() < crossover:
            tools.cxUniform(*pair, indpb=0.5)
        for child in pair:
            tools.mutUniformInt(child, low, up, indpb=mutation)
            children.append(tuple(child))
    return children[:n]


def point_mutation(genome: Genome, n_choices: Sequence[int], rng: random.Random) -> Genome:
    """`genome` with exactly one gene (of those that have a choice) set to another allele."""
    free = [g for g, c in enumerate(n_choices) if c > 1]
    if not free:
        return genome
    gene = rng.choice(free)
    allele = rng.randrange(n_choices[gene] - 1)
    return (*genome[:gene], allele + (allele >= genome[gene]), *genome[gene + 1 :])
