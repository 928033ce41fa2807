"""`gpt2`: genomes are GPT-2s, exactly, so that every winner exports to `transformers`.

What the alleles are is up to the library: `random` crystals in every slot (the control), crystals
grown from the corpus, or crystals cut from a checkpoint (`warm`). A library says which genes there
are and turns a batch of genomes into stacked weights; the space does the rest."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from clso.models.gpt2 import GPT2
from clso.models.population import PopulationGPT2, candidates_per_pass
from clso.search_spaces.gpt2.costs import COST_NAMES
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.search_spaces.gpt2.options import GPT2Options
from clso.search_spaces.gpt2.random import RandomWeights
from clso.search_spaces.gpt2.sourced import Source, SourcedSpace
from clso.search_spaces.gpt2.warm import WarmWeights
from clso.space import Genome
from clso.space.genome import in_parts

__all__ = ["GPT2Options", "GPT2Space", "WeightSource"]


class WeightSource(Source, Protocol):
    """Turns genomes into GPT-2 weights."""

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        """Stacked weights of the genomes, on the search's device."""

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        """Mean loss of each genome on shared blocks (B, T + 1): (P,) float64, nats per token."""

    def decode(self, genome: Genome) -> Any:
        """What each slot of the model holds."""

    def on_all_text(self, genome: Genome) -> WeightSource:
        """A source of this genome's model, with statistics from the whole training text."""


class GPT2Space(SourcedSpace):
    """Search space of exact GPT-2 models over a corpus."""

    name = "gpt2"
    Options = GPT2Options
    options: GPT2Options
    cost_names = COST_NAMES

    @cached_property
    def source(self) -> WeightSource:
        device = torch.device(self.context.device)
        if self.options.library == "random":
            library = self.options.random_library(self.context.seed)
            return RandomWeights(self.config, library, device)
        if self.options.library == "warm":
            return WarmWeights(self.config, Path(self.options.checkpoint), device)
        return GrownWeights(self, mlp=self.options.mlp, neurons=self.options.neurons)

    def decode(self, genome: Genome) -> Any:
        return self.source.decode(self.validate(genome))

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        parts = in_parts(genomes, candidates_per_pass(self.config, blocks.device))
        return torch.cat([self.source.losses(part, blocks) for part in parts])

    def model(self, genome: Genome) -> GPT2:
        return self.source.population([self.validate(genome)]).single(0)

    def final_model(self, genome: Genome) -> GPT2:
        """Regrown on the whole training text: the search is over, and its fitness text may be
        counted as well."""
        genome = self.validate(genome)
        return self.source.on_all_text(genome).population([genome]).single(0)
