"""`nsm`: genomes are Neural State Machines (`clso.models.nsm.SimpleNSM`), with crystals in every
slot.

The `grown` library has the corpus's bigram codes in embedding and head, leaky averages in the
states, and read-outs fitted in closed form; the `random` one has random crystals everywhere, and is
the control. Candidates are measured as the modules that a winner is saved as, without
what adds zero."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial
from typing import Protocol

import torch
from torch import Tensor

from clso.device import side_by_side
from clso.models.gpt2 import text_loss
from clso.models.nsm import SimpleNSM
from clso.models.trimmed import trimmed_nsm
from clso.search_spaces.gpt2.sourced import Source, SourcedSpace
from clso.search_spaces.nsm.costs import COST_NAMES
from clso.search_spaces.nsm.grown import GrownNSM
from clso.search_spaces.nsm.options import NSMOptions
from clso.search_spaces.nsm.random import RandomNSM
from clso.search_spaces.nsm.task import NSMTaskSpace
from clso.space import Genome, SearchSpace
from clso.space.context import SpaceContext
from clso.space.options import make_options

__all__ = ["NSMOptions", "NSMSpace"]


class NSMSource(Source, Protocol):
    """Turns genomes into NSMs."""

    def model(self, genome: Genome) -> SimpleNSM:
        """One genome as a float32 module on the search's device."""

    def final_model(self, genome: Genome) -> SimpleNSM:
        """The same with statistics from the whole training text."""


class NSMSpace(SourcedSpace):
    """Search space of Neural State Machines over a corpus."""

    name = "nsm"
    cost_names = COST_NAMES
    takes_tasks = True
    Options = NSMOptions
    options: NSMOptions

    @classmethod
    def from_context(cls, context: SpaceContext) -> SearchSpace:
        if not context.task:
            return cls(context)
        return NSMTaskSpace(context, make_options(NSMOptions, context.options))

    @cached_property
    def source(self) -> NSMSource:
        if self.options.library == "grown":
            return GrownNSM(self)
        library = self.options.random_library(self.context.seed)
        return RandomNSM(self.config, library, torch.device(self.context.device))

    def decode(self, genome: Genome) -> dict[str, str]:
        return self.describe(genome)

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        found = side_by_side(partial(self._loss, blocks), genomes, blocks.device)
        return torch.tensor(found, dtype=torch.float64)

    def _loss(self, blocks: Tensor, genome: Genome) -> float:
        return text_loss(trimmed_nsm(self.source.model(self.validate(genome))), blocks)

    def model(self, genome: Genome) -> SimpleNSM:
        return self.source.model(self.validate(genome)).cpu()

    def final_model(self, genome: Genome) -> SimpleNSM:
        """Regrown on the whole training text: the search is over, and its fitness text may be
        counted as well."""
        genome = self.validate(genome)
        return self.source.final_model(genome).cpu()
