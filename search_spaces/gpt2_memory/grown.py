"""Grown GPT-2s as the part of a mixture: what a population gives each target of token blocks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from clso.grown.codes import CodeFamily, Codes
from clso.models.gpt2 import GPT2
from clso.models.head_loss import fused_kernel_fits
from clso.models.pointer_population import log_normalisers
from clso.models.population import PopulationGPT2, blocks_per_pass, candidates_per_pass
from clso.search_spaces.gpt2.grown import GrownWeights
from clso.space import Genome
from clso.space.genome import in_parts

__all__ = ["GrownGPT2"]


class GrownGPT2(GrownWeights):
    """Grown weights as a `GrownPart`."""

    def codes(self, family: CodeFamily) -> Codes:
        return self.crystals.codes(family)

    def token_vectors(self) -> Tensor:
        """The embedding of the default genome."""
        return self.model(self.seeds()[0]).wte.weight

    def target_probabilities(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        parts = in_parts(genomes, candidates_per_pass(self.config, blocks.device))
        return torch.cat([_of_population(self.population(part), blocks) for part in parts])

    def model(self, genome: Genome) -> GPT2:
        return self.population([genome]).single(0)

    def final_model(self, genome: Genome) -> GPT2:
        return self.on_all_text(genome).model(genome)


@torch.no_grad()
def _of_population(population: PopulationGPT2, blocks: Tensor) -> Tensor:
    """Blocks (N, T + 1) -> (P, N T) float64."""
    size = blocks_per_pass(len(population), population.config, blocks.device)
    return torch.cat([_probabilities(population, part) for part in torch.split(blocks, size)], 1)


def _probabilities(population: PopulationGPT2, blocks: Tensor) -> Tensor:
    targets, heads = blocks[:, 1:].flatten(), population.heads
    rows = population.hidden(blocks[:, :-1])  # (P, N T, d)
    rows = rows if heads.basis is None else rows @ heads.basis
    fused = fused_kernel_fits(rows.device, rows.shape[1], rows.shape[2], torch.float16)
    tables = heads.distinct(torch.float32)
    operands = heads.distinct(torch.float16) if fused else tables
    normaliser = log_normalisers(rows, operands, heads.index)
    out = torch.empty(normaliser.shape, dtype=torch.float64, device=rows.device)
    for i, table in enumerate(heads.index.tolist()):
        logit = (rows[i] * tables[table][targets]).sum(1)
        out[i] = (logit - normaliser[i]).double().exp()
    return out
