"""What a population of grown GPT-2s gives each target of token blocks."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.models.head_loss import fused_kernel_fits
from clso.models.pointer_population import log_normalisers
from clso.models.population import PopulationGPT2, blocks_per_pass

__all__ = ["target_probabilities"]


@torch.no_grad()
def target_probabilities(population: PopulationGPT2, blocks: Tensor) -> Tensor:
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
