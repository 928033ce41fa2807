"""A space without the choices that only save costs: what is searched for the first value alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clso.space import Gene, Genome, SearchSpace
from clso.space.base import Objective
from clso.space.checked import CheckedSpace

__all__ = ["Held"]


class Held(SearchSpace):
    """`space` with its saving genes held at their first choice. Its genomes are genomes of `space`,
    and stand for the same."""

    def __init__(self, space: SearchSpace) -> None:
        self.name = space.name
        self._space = space
        self.held = tuple(i for i, gene in enumerate(space.genes) if gene.saving)
        first = {gene.name: gene.choices[0] for gene in space.genes if gene.saving}
        self._genes = tuple(_with(gene, first) for gene in space.genes)
        for function in ("constraints", "inactive", "key"):
            setattr(self, function, getattr(space, function))

    @classmethod
    def of(cls, space: SearchSpace) -> Held | None:
        """None if there is nothing to hold, or if the space draws or repairs genomes itself."""
        checked = CheckedSpace(space)
        if checked.repairs or checked.samples_itself:
            return None
        return cls(space) if any(gene.saving for gene in space.genes) else None

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self._genes

    def decode(self, genome: Genome) -> Any:
        return self._space.decode(genome)

    def objective(self) -> Objective:
        return self._space.objective()

    def descriptors(self) -> list[Any] | None:
        found = self._space.descriptors()
        if found is None:
            return None
        return [d if d is None or gene not in self.held else d[:1] for gene, d in enumerate(found)]

    def has(self, genome: Genome) -> bool:
        """Whether a genome of the space is one of this."""
        return not any(genome[gene] for gene in self.held)


def _with(gene: Gene, first: Mapping[str, str]) -> Gene:
    """`gene` beside genes that have their `first` choice alone, as it may itself."""
    return Gene(
        gene.name,
        gene.choices[:1] if gene.saving else gene.choices,
        tuple((n, label) for n, label in gene.unless if first.get(n, label) == label),
        tuple(
            (n, tuple(label for label in labels if first.get(n, label) == label))
            for n, labels in gene.when
        ),
        ordered=gene.ordered,
    )
