"""`vsla`: genomes are GPT-2s with an attention pattern for every head, measured on whole documents (`clso.models.vsla`).

Weights are those of `gpt2`'s `grown` library, or of the `random` one, the control. A text is its documents, cut into
pieces of at most `n_positions` tokens and never padded; the loss is a token's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from clso.models.packed_text import PackedText, packed_text
from clso.models.population import candidates_per_pass
from clso.models.vsla import VSLA
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.random import RandomWeights
from clso.search_spaces.gpt2.sourced import SourcedSpace
from clso.search_spaces.vsla.options import VSLAOptions, kinds_of
from clso.search_spaces.vsla.weights import COST_NAMES, PatternedWeights
from clso.space import Genome
from clso.space.genome import in_parts

__all__ = ["VSLASpace"]


class VSLASpace(SourcedSpace):
    """Search space of VSLAs over a corpus."""

    name = "vsla"
    cost_names = COST_NAMES
    Options = VSLAOptions
    options: VSLAOptions

    @cached_property
    def source(self) -> PatternedWeights:
        if self.options.library == "grown":
            return PatternedWeights(self, GrownWeights(self), kinds_of(self.options.patterns))
        library = self.options.random_library(self.context.seed)
        inner = RandomWeights(self.config, library, torch.device(self.context.device))
        return PatternedWeights(self, inner, kinds_of(self.options.patterns))

    def decode(self, genome: Genome) -> dict[str, Any]:
        """The alleles, and each layer's patterns."""
        genome = self.validate(genome)
        patterns = ["+".join(p.label for p in layer) for layer in self.source.patterns(genome)]
        return {**self.describe(genome), "patterns": patterns}

    def text(self, split: str, n_tokens: int | None = None) -> PackedText:
        lengths = self.corpus.document_lengths(split)
        text = packed_text(self.corpus.tokens(split), lengths, self.config.n_positions, n_tokens)
        return text.to(self.context.device)

    def losses(self, genomes: Sequence[Genome], text: PackedText) -> Tensor:
        parts = in_parts(genomes, candidates_per_pass(self.config, text.device))
        return torch.cat([self.source.losses(part, text) for part in parts])

    def model(self, genome: Genome) -> VSLA:
        return self.source.model(self.validate(genome))

    def final_model(self, genome: Genome) -> VSLA:
        """Regrown on the whole training text: the search is over, and its fitness text may be
        counted as well."""
        return self.source.final_model(self.validate(genome))
