"""Language-model spaces whose genes are up to a library: a source says which there are, and turns
genomes into weights."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, Protocol

import numpy as np

from clso.space import Gene, Genome
from clso.space.language import LanguageModelSpace

__all__ = ["Source", "SourcedSpace"]


class Source(Protocol):
    """What a library offers."""

    genes: tuple[Gene, ...]

    def prepare(self) -> None:
        """Build what every genome needs."""

    def seeds(self) -> list[Genome]:
        """Default genomes to try first."""

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Per gene, features of its alleles (n_choices, n_features), or None."""

    def costs(self, genome: Genome) -> dict[str, float]:
        """Costs of the genome by name."""


class SourcedSpace(LanguageModelSpace):
    """A space that asks its source."""

    @property
    @abstractmethod
    def source(self) -> Source:
        """The run's library."""

    @property
    def genes(self) -> tuple[Gene, ...]:
        return self.source.genes

    def seeds(self) -> list[Genome]:
        return self.source.seeds()

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        return self.source.descriptors()

    def prepare(self) -> None:
        self.source.prepare()

    def costs(self, genome: Genome) -> dict[str, float]:
        return self.source.costs(self.validate(genome))
