"""A population of pointer GPT-2s in one batched pass over shared token blocks."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from clso.models.gpt2 import GPT2Config
from clso.models.log_sum_exp import log_sum_exp
from clso.models.pointer import PointerGPT2, mixture_losses, pointer_scores, unit_codes
from clso.models.population import PopulationGPT2

__all__ = ["PopulationPointer", "log_normalisers", "pointer_candidates_per_pass"]

_CPU_BLOCKS = 8
_CPU_BYTES = 1 << 27
_CUDA_MEMORY_SHARE = 0.25  # of the free memory
_FUSED_WIDTHS = (16, 32, 64, 128)


def _bytes_per_block(config: GPT2Config) -> int:
    """Of one candidate: scores and what they are made of, about eight at once, and activations."""
    return 4 * config.n_positions * (8 * config.n_positions + 12 * config.d_model)


def _blocks_per_pass(n_candidates: int, config: GPT2Config, device: torch.device) -> int:
    """On a CPU a fixed number, for then a candidate's loss is the same to the last bit in any
    company."""
    if device.type != "cuda":
        return _CPU_BLOCKS
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(free * _CUDA_MEMORY_SHARE) // (n_candidates * _bytes_per_block(config)))


def pointer_candidates_per_pass(config: GPT2Config, device: torch.device) -> int:
    """Candidates of one pass, so that memory stays bounded at any population: 128 MB on a CPU."""
    if device.type != "cuda":
        return max(1, _CPU_BYTES // (_CPU_BLOCKS * _bytes_per_block(config)))
    free, _ = torch.cuda.mem_get_info(device)
    return max(1, int(free * _CUDA_MEMORY_SHARE) // _bytes_per_block(config))


@dataclass(frozen=True)
class PopulationPointer:
    """Weights of P candidates.

    `lm` holds the GPT-2s, `rarity` (P, V), `projection` (P, d_model, k), and `scalars` (P,) for
    each of `SCALARS`."""

    lm: PopulationGPT2
    rarity: Tensor
    projection: Tensor
    scalars: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(self.lm)

    @torch.no_grad()
    def losses(self, blocks: Tensor) -> Tensor:
        """Mean loss of each candidate over blocks (B, T + 1), in nats per token: (P,) float64."""
        total = torch.zeros(len(self), dtype=torch.float64, device=blocks.device)
        for part in torch.split(blocks, _blocks_per_pass(len(self), self.lm.config, blocks.device)):
            total += self.token_losses(part).double().flatten(1).sum(1)
        return total / blocks[:, 1:].numel()

    @torch.no_grad()
    def token_losses(self, blocks: Tensor) -> Tensor:
        """Negative log-likelihood of each target: blocks (B, T + 1) -> (P, B, T)."""
        tokens, targets = blocks[:, :-1], blocks[:, 1:]
        (b, t), p = tokens.shape, len(self)
        # Hidden states (P, B T, d), and in unit length the codes in them (P, B, T, k).
        hidden = self.lm.hidden(tokens)
        codes = unit_codes(hidden, self.projection).view(p, b, t, -1)
        # Output tables (E, V, d), and hidden states in their coordinates (P, B T, d).
        heads = self.lm.heads
        tables = heads.distinct(torch.float32)
        rows = hidden if heads.basis is None else hidden @ heads.basis
        # log sum_v exp(logit) for each position (P, B, T).
        fused = _fused_kernel_fits(rows)
        operands = heads.distinct(torch.float16) if fused else tables
        normaliser = log_normalisers(rows, operands, heads.index).view(p, b, t)
        rows = rows.view(p, b, t, -1)
        # The language model's loss (P, B, T), and what it gives each token of the block at each
        # position (P, B, T, T).
        index = heads.index.to(tokens.device)[:, None, None]
        lm_losses = normaliser - (rows * tables[index, targets]).sum(3)
        log_p = rows @ tables[index, tokens].transpose(2, 3) - normaliser[..., None]
        # The pointer's scores of earlier positions (P, B, T, T) and of none (P, B, T).
        scores, sink = pointer_scores(self.scalars, tokens, log_p, self.rarity[:, tokens], codes)
        return mixture_losses(scores, sink, tokens, targets, lm_losses)

    def single(self, candidate: int) -> PointerGPT2:
        """One candidate as an ordinary float32 module on the CPU."""
        scalars = {name: value[candidate].item() for name, value in self.scalars.items()}
        projection = self.projection[candidate]
        # stacked projections are padded to one width
        used = projection[:, (projection != 0).any(0)]
        model = PointerGPT2(
            self.lm.single(candidate), self.rarity[candidate].cpu(), used.cpu(), scalars
        )
        return model.eval()


def log_normalisers(rows: Tensor, tables: Tensor, index: Tensor) -> Tensor:
    """log sum_v exp(rows . table_v) for each candidate's rows (P, N, d) under its table: (P, N)
    float32.

    `tables` is (E, V, d), `index` (P,), on the CPU, says which is whose. Half-precision tables on
    CUDA take the Triton kernel; float32 ones are gone through a tile of rows at a time, and
    candidates that share a table together."""
    p, n, _ = rows.shape
    if tables.dtype == torch.float16:
        from clso.models.triton_head import ROW_TILE
        from clso.models.triton_head import log_sum_exp as fused_log_sum_exp

        of_tile = index.to(rows.device, torch.int32).repeat_interleave(n // ROW_TILE)
        return fused_log_sum_exp(rows.half().flatten(0, 1).contiguous(), tables, of_tile).view(p, n)
    out = torch.empty(p, n, device=rows.device)
    for table in sorted(set(index.tolist())):
        members = (index == table).nonzero().flatten().to(rows.device)
        own = rows[members].flatten(0, 1)
        out[members] = log_sum_exp(own, tables[table], n).view(len(members), n)
    return out


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _fused_kernel_fits(rows: Tensor) -> bool:
    return (
        rows.is_cuda
        and _has_triton()
        and rows.shape[2] in _FUSED_WIDTHS
        and rows.shape[1] % 128 == 0
    )
