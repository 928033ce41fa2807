"""What is searched, and what a module of problems hands to the registry."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from benchmarks.field.invited import Few, few

__all__ = [
    "EVALUATIONS",
    "REGRET",
    "TUNED",
    "Column",
    "Condition",
    "Genome",
    "Problem",
    "Row",
    "Suite",
    "Value",
    "family",
    "instance",
    "shuffled",
]

TUNED = 100
"""Seeds below are those that choices were made on."""

Genome = tuple[int, ...]
Value = float | tuple[float, ...]
Row = dict[str, Any]
"""The record of a run."""
Condition = tuple[int, tuple[int, ...]]
"""A gene that comes before, and the alleles of it with which another gene counts."""


def family(name: str) -> str:
    """The first part of a problem's name FAMILY/INSTANCE."""
    return name.partition("/")[0]


def instance(name: str) -> str:
    """What follows it."""
    return name.partition("/")[2]


def shuffled(n_choices: Sequence[int], rng: random.Random) -> Callable[[Genome], Genome]:
    """Gives the alleles of each gene other numbers, drawn once."""
    orders = [rng.sample(range(n), n) for n in n_choices]
    return lambda genome: tuple(o[a] for o, a in zip(orders, genome, strict=True))


@dataclass(frozen=True)
class Problem:
    """`evaluate` is minimised over genomes of `n_choices` alleles a gene.

    It gives a number, a tuple of them if there are several objectives, or NaN for a failure.
    """

    name: str
    n_choices: tuple[int, ...]
    evaluate: Callable[[Genome], Value]
    optimum: float
    """The least value; with several objectives the volume that the whole front dominates."""
    scale: float = 1.0
    """What a regret is divided by: how far a random genome lies from the optimum, say."""
    when: Mapping[int, Condition] = field(default_factory=dict)
    """Genes that count only with some alleles of an earlier one."""
    ordered: tuple[bool, ...] = ()
    """Genes that are declared as numbers in rising order, to whoever takes them; none: all are
    labels."""
    truth: Callable[[Genome], float] | None = None
    """Of a noisy problem: the value without noise, which no optimiser sees."""
    reference: tuple[float, ...] = ()
    """Of several objectives: the point that the dominated volume is measured to."""
    cheap: tuple[float, Callable[[Genome], float]] | None = None
    """A lower rung: the share of an evaluation that it costs, and what it says."""
    earlier: Sequence[tuple[Genome, float]] = ()
    """What a run measured on a related problem."""

    @property
    def n_values(self) -> int:
        return max(1, len(self.reference))

    def solved_by(self, value: float) -> bool:
        return value <= self.optimum + 1e-9 * max(1.0, abs(self.optimum))

    def active(self, genome: Genome, gene: int) -> bool:
        """Whether `gene` counts in `genome`."""
        if gene not in self.when:
            return True
        parent, alleles = self.when[gene]
        return genome[parent] in alleles and self.active(genome, parent)

    def key(self, genome: Genome) -> Genome:
        """The phenotype: genes that do not count are 0. Equal keys have equal values."""
        if not self.when:
            return genome
        return tuple(a if self.active(genome, i) else 0 for i, a in enumerate(genome))


@dataclass(frozen=True)
class Column:
    """A figure of each run, of which a table shows the mean."""

    head: str
    of: Callable[[Row], float]
    form: str = ".2f"
    larger_is_better: bool = False


REGRET = Column("regret, %", lambda row: 100 * row["regret"])
EVALUATIONS = Column("evaluations", lambda row: row["n_evaluations"])


@dataclass(frozen=True)
class Suite:
    """Problems that are searched in the same way, and shown as one table."""

    name: str
    """Of its records, NAME.jsonl."""
    title: str
    about: str
    """What is searched, and where it comes from."""
    problems: tuple[str, ...]
    """FAMILY/INSTANCE each."""
    load: Callable[[str, int], Problem]
    """From the name of a problem and a seed, which may decide what is drawn or masked."""
    n_evaluations: int
    rivals: tuple[str, ...]
    """Contestants; `clso`, or else the first one, is whom the others are compared with."""
    seeds: int = 10
    first_seed: int = 0
    few: Few = field(default_factory=few)
    """Contestants that cost much, and run on the first seeds and problems only."""
    stop: bool = False
    """Whether a run ends at the optimum."""
    columns: tuple[Column, ...] = (REGRET,)
    """What is shown, the first one also as a difference."""
    group: Callable[[str], str] | None = None
    """Of a problem's name; then the first column is also shown for each group."""
    always_anew: bool = False
    """Whether rows only compare within one run, as times do."""

    @property
    def ours(self) -> str:
        """Whom the others are compared with."""
        return "clso" if "clso" in self.rivals else self.rivals[0]
