"""What is searched, and what a module of problems hands to the registry."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

__all__ = ["Condition", "Genome", "Problem", "Suite", "Value"]

Genome = tuple[int, ...]
Value = float | tuple[float, ...]
Condition = tuple[int, tuple[int, ...]]
"""A gene that comes before, and the alleles of it with which another gene counts."""


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
    """Genes whose alleles are numbers in rising order; none: all are labels."""
    truth: Callable[[Genome], float] | None = None
    """Of a noisy problem: the value without noise, which no optimiser sees."""
    reference: tuple[float, ...] = ()
    """Of several objectives: the point that the dominated volume is measured to."""

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
    seeds: int = 10
    slow_seeds: int = 1
    """Of optimisers that cost a quarter of a second an evaluation, on the first"""
    slow_problems: int = 2
    """of the problems. 0: they do not take part."""
    stop: bool = False
    """Whether a run ends at the optimum."""
    guests: tuple[str, ...] = ()
    """Contestants that take part here and not everywhere."""
    only: tuple[str, ...] = ()
    """Contestants that take part; none: all, and the guests."""
