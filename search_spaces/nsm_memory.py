"""`nsm-memory`: a grown Neural State Machine, mixed in probability space with what `gpt2-memory`
counts.

The NSM part is one of `nsm`, exactly; the mixture is none, and is reported apart. Genes are those
of `nsm`, then the memory's.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property, partial

import torch
from torch import Tensor

from clso.device import side_by_side
from clso.models.memory import target_probabilities
from clso.models.trimmed import trimmed_nsm
from clso.search_spaces.gpt2.costs import FLOAT_BYTES
from clso.search_spaces.gpt2_memory.mixed import MemorySpace
from clso.search_spaces.gpt2_memory.part import GrownPart
from clso.search_spaces.nsm.grown import GrownNSM
from clso.space import Genome

__all__ = ["NSMMemorySpace"]


class NSMMemorySpace(MemorySpace):
    """Search space of memory models around a Neural State Machine."""

    name = "nsm-memory"

    @cached_property
    def grown(self) -> GrownPart:
        return _Machines(self)


class _Machines(GrownNSM):
    """Grown NSMs as a `GrownPart`."""

    def costs(self, genome: Genome) -> dict[str, float]:
        costs = super().costs(genome)
        return {**costs, "n_bytes": FLOAT_BYTES * costs["n_params"]}

    def target_probabilities(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        found = side_by_side(partial(self._probabilities, blocks), genomes, blocks.device)
        return torch.stack(found)

    @torch.no_grad()
    def _probabilities(self, blocks: Tensor, genome: Genome) -> Tensor:
        return target_probabilities(trimmed_nsm(self.model(genome)), blocks)
