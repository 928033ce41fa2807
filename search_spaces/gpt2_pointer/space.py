"""`gpt2-pointer`: a grown GPT-2, mixed in probability space with a pointer over the block's own
tokens.

The GPT-2 part is exact, but the mixture is no GPT-2, and is reported apart. Freed from the copy
head, nearly the whole residual stream carries the bigram code."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
from torch import Tensor

from clso.models.gpt2 import LanguageModel
from clso.search_spaces.gpt2_pointer.genes import GAIN_VALUES, default_genome, pointer_genes
from clso.search_spaces.gpt2_pointer.options import GPT2PointerOptions
from clso.search_spaces.gpt2_pointer.weights import PointerWeights
from clso.space import Gene, Genome
from clso.space.language import LanguageModelSpace

__all__ = ["GPT2PointerSpace"]


class GPT2PointerSpace(LanguageModelSpace):
    """Search space of pointer GPT-2s grown from a corpus."""

    name = "gpt2-pointer"
    Options = GPT2PointerOptions

    @cached_property
    def source(self) -> PointerWeights:
        return PointerWeights(self)

    @property
    def genes(self) -> tuple[Gene, ...]:
        return pointer_genes(self.config)

    def seeds(self) -> list[Genome]:
        return [default_genome()]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Gains tell the surrogate their value and its square; structure genes are one-hot only."""
        out: list[np.ndarray[Any, Any] | None] = []
        for gene in self.genes:
            values = np.array(GAIN_VALUES.get(gene.name, ()))
            out.append(np.stack([values, values**2], axis=1) if len(values) else None)
        return out

    def prepare(self) -> None:
        """Grow what the default genome needs; the rest follows when the search asks for it."""
        self.source.population([default_genome()])

    def decode(self, genome: Genome) -> dict[str, str]:
        return self.describe(genome)

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        return self.source.losses(genomes, blocks)

    def model(self, genome: Genome) -> LanguageModel:
        return self.source.population([self.validate(genome)]).single(0)

    def final_model(self, genome: Genome) -> LanguageModel:
        """Regrown on the whole training text: the search is over, and its fitness text may be
        counted as well."""
        return PointerWeights(self, "train").population([self.validate(genome)]).single(0)
