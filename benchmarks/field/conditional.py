"""Conditional genes: a selector of four, each option with two genes of its own, and two genes of all.

Each gene has six alleles: 5,184 candidates, as 241,864,704 genomes. An instance is drawn by its
number: the value is the option's own, plus, for each gene, a bowl around an allele that is best for
it, plus a smaller random table for each pair of genes that are active together. In `interacting/N` the
two genes that always count have another table with each option."""

from __future__ import annotations

import random
from functools import cache
from itertools import combinations, product

from benchmarks.field.invited import EVERYBODY, SLOW_ON_MIXED, few
from benchmarks.field.problem import REGRET, TUNED, Column, Genome, Problem, Suite, family

__all__ = ["OPTIONS", "SUITE", "load"]

OPTIONS = 4
_ALLELES = 6
_SHARED = (1, 2)
_OWN = tuple((3 + 2 * option, 4 + 2 * option) for option in range(OPTIONS))
_SIZES = (OPTIONS, *(_ALLELES,) * 10)
_PAIRS = 0.3  # at most, of two genes together
_WHEN = {gene: (0, (option,)) for option, genes in enumerate(_OWN) for gene in genes}


@cache
def _instance(name: str) -> Problem:
    kind, _, number = name.partition("/")
    rng = random.Random(f"conditional {number}")
    offset = [rng.uniform(0, 1) for _ in range(OPTIONS)]
    bowl = {}
    for gene in range(1, len(_SIZES)):
        centre, depth = rng.randrange(_ALLELES), rng.uniform(0.3, 1)
        bowl[gene] = [depth * abs(i - centre) / (_ALLELES - 1) for i in range(_ALLELES)]
    together = {
        (option, a, b): [[rng.uniform(0, _PAIRS) for _ in range(_ALLELES)] for _ in range(_ALLELES)]
        for option in range(OPTIONS)
        for a, b in combinations((*_SHARED, *_OWN[option]), 2)
    }
    if kind == "conditional":
        one = together[OPTIONS - 1, _SHARED[0], _SHARED[1]]
        together |= {(option, _SHARED[0], _SHARED[1]): one for option in range(OPTIONS)}

    def evaluate(x: Genome) -> float:
        option = x[0]
        genes = (*_SHARED, *_OWN[option])
        value = offset[option] + sum(bowl[gene][x[gene]] for gene in genes)
        pairs = combinations(genes, 2)
        return float(value + sum(together[option, a, b][x[a]][x[b]] for a, b in pairs))

    def genomes() -> list[Genome]:
        found = []
        for option, alleles in product(range(OPTIONS), product(range(_ALLELES), repeat=4)):
            genome = [option] + [0] * 10
            for gene, allele in zip((*_SHARED, *_OWN[option]), alleles, strict=True):
                genome[gene] = allele
            found.append(tuple(genome))
        return found

    values = sorted(map(evaluate, genomes()))
    optimum, scale = values[0], values[len(values) // 2] - values[0]
    return Problem(name, _SIZES, evaluate, optimum, scale=scale, when=_WHEN)


def load(name: str, seed: int) -> Problem:
    """An instance as it is; every seed searches the same one."""
    return _instance(name)


SUITE = Suite(
    "conditional",
    "Conditional genes",
    "A selector of four options, each with two genes of its own that count only with it, and two "
    "genes that always count; 5,184 candidates, 5 instances of each kind by a generator. In "
    "*interacting* ones the option decides how the two genes of all act together. Choices were made "
    "on instances 0 to 4 of the first kind; these are 100 to 104. CLSO and *Optuna TPE, group* are "
    "told which genes count; the others draw all of them.",
    tuple(f"{kind}/{TUNED + i}" for kind in ("conditional", "interacting") for i in range(5)),
    load,
    n_evaluations=200,
    rivals=(*EVERYBODY, "optuna-tpe-group"),
    seeds=20,
    few=few(SLOW_ON_MIXED, problems=1) | few(["optuna-tpe", "optuna-nsga2", "pymoo-ga"], 2, 5),
    columns=(
        Column("found", lambda row: 100 * row["solved"], ".0f", larger_is_better=True),
        REGRET,
    ),
    group=family,
)
