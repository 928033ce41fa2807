"""Which genes of a genome make no difference, as the genes themselves declare it."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, did_you_mean
from clso.space.genome import Gene, Genome

__all__ = ["Conditions"]

_MOST_COUNTED = 4_096  # assignments of the genes that others depend on


class Conditions:
    """`Gene.when` and `Gene.unless` of all genes as one rule on allele indices: a gene is active if
    each gene that it depends on is active and has an allele that allows it.

    What names a gene or a label that is not there is passed over, for records of long gene lists
    leave labels out; `check` refuses it.

    Attributes:
        rules: (gene, ((other gene, its alleles that allow the gene), ...)) for each conditional
            gene, after those that it depends on.

    Raises:
        ConfigError: genes that depend on each other in a circle.

    >>> kernel = Gene("kernel", ("rbf", "poly"))
    >>> conditions = Conditions((kernel, Gene("degree", (2, 3), when=("kernel", "poly"))))
    >>> conditions.canonical((0, 1)), conditions.canonical((1, 1)), conditions.count
    ((0, 0), (1, 1), 3)
    """

    def __init__(self, genes: Sequence[Gene]) -> None:
        self._names = [gene.name for gene in genes]
        self._sizes = [len(gene) for gene in genes]
        place = {gene.name: i for i, gene in enumerate(genes)}
        found = {
            i: _allowed(gene, genes, place)
            for i, gene in enumerate(genes)
            if gene.when or gene.unless
        }
        self.rules = tuple((i, tuple(found[i].items())) for i in self._in_order(found) if found[i])

    def _in_order(self, found: dict[int, dict[int, frozenset[int]]]) -> list[int]:
        """The conditional genes, each after those that it depends on."""
        done: list[int] = []
        while left := [i for i in found if i not in done]:
            ready = [i for i in left if not any(other in left for other in found[i])]
            if not ready:
                names = ", ".join(repr(self._names[i]) for i in left)
                raise ConfigError(
                    "a gene does not depend on itself", problem=f"there is a circle among {names}"
                )
            done += ready
        return done

    @staticmethod
    def check(genes: Sequence[Gene]) -> None:
        """Raises `ConfigError` for a condition on a gene or a label that there is not."""
        known = {gene.name: gene.choices for gene in genes}
        for gene in genes:
            pairs = [(name, (label,)) for name, label in gene.unless]
            for name, labels in (*gene.when, *pairs):
                rule = (
                    f"a condition of gene {gene.name!r} names another gene and one of its choices"
                )
                if name not in known:
                    remedy = did_you_mean(name, known, f"Known: {_some(known)}.")
                    raise ConfigError(rule, problem=f"there is no gene {name!r}", remedy=remedy)
                for label in labels:
                    if label not in known[name]:
                        remedy = did_you_mean(
                            label, known[name], f"{name} has {_some(known[name])}."
                        )
                        problem = f"{name!r} has no choice {label!r}"
                        raise ConfigError(rule, problem=problem, remedy=remedy)

    def inactive(self, genome: Sequence[int]) -> set[int]:
        """Places of the genes that make no difference."""
        off: set[int] = set()
        for gene, tests in self.rules:
            for other, allowed in tests:
                if genome[other] not in allowed or other in off:
                    off.add(gene)
                    break
        return off

    def canonical(self, genome: Genome) -> Genome:
        """`genome` with the first allele in each inactive gene: equal for genomes that stand for
        the same."""
        off = self.inactive(genome) if self.rules else ()
        if not off:
            return genome
        child = list(genome)
        for gene in off:
            child[gene] = 0
        return tuple(child)

    def mask(self, genomes: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        """`inactive` of many: (n, genes) -> (n, genes)."""
        off = np.zeros(genomes.shape, dtype=np.bool_)
        for gene, tests in self.rules:
            for other, allowed in tests:
                bars = np.ones(self._sizes[other], dtype=np.bool_)
                bars[list(allowed)] = False
                off[:, gene] |= off[:, other] | bars[genomes[:, other]]
        return off

    @property
    def count(self) -> int:
        """How many candidates there are, genomes that stand for the same counted once; too many if
        the genes that others depend on have more than 4,096 assignments."""
        rulers = {other for _, tests in self.rules for other, _ in tests}
        if math.prod(self._sizes[i] for i in rulers) > _MOST_COUNTED:
            return math.prod(self._sizes)
        ruled = [i for i in range(len(self._sizes)) if i not in rulers]
        offs = map(self.inactive, self._assignments(rulers))
        return sum(math.prod(self._sizes[i] for i in ruled if i not in off) for off in offs)

    def every(self) -> list[Genome]:
        """All canonical genomes."""
        return self._assignments(range(len(self._sizes)))

    def _assignments(self, places: Collection[int]) -> list[Genome]:
        """All canonical assignments of the genes at `places`, which depend on no others; the first
        allele everywhere else."""
        conditional = [gene for gene, _ in self.rules]
        free = [i for i in range(len(self._sizes)) if i not in conditional]
        found = [(0,) * len(self._sizes)]
        for gene in (i for i in (*free, *conditional) if i in places and self._sizes[i] != 1):
            found = [
                (*genome[:gene], allele, *genome[gene + 1 :])
                for genome in found
                for allele in range(1 if gene in self.inactive(genome) else self._sizes[gene])
            ]
        return found


def _allowed(gene: Gene, genes: Sequence[Gene], place: dict[str, int]) -> dict[int, frozenset[int]]:
    """Other gene -> its alleles that allow `gene`."""
    found: dict[int, frozenset[int]] = {}

    def narrow(name: str, labels: Sequence[str], *, keep: bool) -> None:
        other = place.get(name)
        if other is None or not genes[other].choices:
            return
        choices = genes[other].choices
        allowed = frozenset(i for i, label in enumerate(choices) if (label in labels) is keep)
        found[other] = found[other] & allowed if other in found else allowed

    for name, labels in gene.when:
        narrow(name, labels, keep=True)
    for name, label in gene.unless:
        narrow(name, (label,), keep=False)
    return found


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:8]) + (", ..." if len(listed) > 8 else "")
