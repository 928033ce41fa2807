"""Cross-entropy under a vocabulary-sized head, for a whole population, without ever holding all the logits.

At d = 128 the head is 94 % of a GPT-2's arithmetic, so this is the hot loop of a search. Hidden states are visited in
tiles of rows; each tile's logits live just long enough to be reduced to a log-sum-exp.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import cache, cached_property

import torch
from torch import Tensor

__all__ = ["TableBank", "Tables", "population_head_loss", "row_losses"]

_CPU_TILE_ELEMENTS = 1 << 20  # logits in flight on a CPU: 4 MB, so that the three passes over them stay in cache
_CUDA_MEMORY_SHARE = 0.25  # of the free memory; logits, their exponentials and a margin


class TableBank:
    """Distinct vocabulary-sized tables (n_tables, V, d), kept on the device, in float32 and, once asked for, float16."""

    def __init__(self, tables: Tensor) -> None:
        if tables.dim() != 3:
            raise ValueError(f"tables are (n_tables, V, d), not {tuple(tables.shape)}")
        self.tables = tables

    @cached_property
    def half(self) -> Tensor:
        return self.tables.half().contiguous()


@dataclass(frozen=True)
class Tables:
    """Which table of a bank each candidate uses; `index` (P,) lies on the CPU, since it steers the launches."""

    bank: TableBank
    index: Tensor

    def __len__(self) -> int:
        return len(self.index)

    def members(self, start: int, stop: int) -> Tables:
        return Tables(self.bank, self.index[start:stop])


def _rows_per_tile(n_rows: int, vocab_size: int, device: torch.device) -> int:
    """Rows whose logits are computed together.

    On a CPU the tile divides a candidate's rows, so that a candidate's arithmetic, and therefore its loss to the last
    bit, does not depend on who shares the batch. On a GPU it is what a share of the free memory holds.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return max(128, int(free * _CUDA_MEMORY_SHARE) // (12 * vocab_size))
    limit = max(32, _CPU_TILE_ELEMENTS // vocab_size)
    return next(r for r in range(min(limit, n_rows), 0, -1) if n_rows % r == 0)


def population_head_loss(hidden: Tensor, head: Tables, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood of `targets` for each candidate, in nats, float64 (P,).

    `hidden` is (P, N, d), `targets` (N,). On CUDA, with Triton, operands are float16 and sums float32; elsewhere everything
    is float32 and candidates that share a head are one matrix product.
    """
    n_candidates, n_rows, _ = hidden.shape
    if hidden.is_cuda and _fused_kernel_fits(hidden):
        return _fused_head_loss(hidden, head, targets)
    tables = head.bank.tables
    tile = _rows_per_tile(n_rows, tables.shape[1], hidden.device)
    out = torch.empty(n_candidates, dtype=torch.float64, device=hidden.device)
    for table in sorted(set(head.index.tolist())):
        members = (head.index == table).nonzero().flatten().to(hidden.device)
        rows = hidden[members].flatten(0, 1)
        losses = row_losses(rows, tables[table], targets.repeat(len(members)), tile)
        out[members] = losses.view(len(members), n_rows).double().sum(dim=1)
    return out


@cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def _fused_kernel_fits(hidden: Tensor) -> bool:
    d = hidden.shape[2]
    return _has_triton() and d in (16, 32, 64, 128, 256) and hidden.shape[1] % 128 == 0


def _fused_head_loss(hidden: Tensor, head: Tables, targets: Tensor) -> Tensor:
    from clso.models.triton_head import ROW_TILE, log_sum_exp

    n_candidates, n_rows, _ = hidden.shape
    rows, half = hidden.half(), head.bank.half
    index = head.index.to(hidden.device, torch.int32)
    lse = log_sum_exp(rows.flatten(0, 1).contiguous(), half, index.repeat_interleave(n_rows // ROW_TILE))
    picked = half[index[:, None].long(), targets[None, :]]
    at_target = (rows.float() * picked.float()).sum(2)
    return (lse.view(n_candidates, n_rows) - at_target).double().sum(1)


def row_losses(rows: Tensor, weight: Tensor, targets: Tensor, tile: int | None = None) -> Tensor:
    """Negative log-likelihood (n,) of targets (n,) for hidden rows (n, d) under one head (V, d), a tile at a time."""
    tile = _rows_per_tile(len(rows), weight.shape[0], rows.device) if tile is None else tile
    losses = []
    for part, target in zip(torch.split(rows, tile), torch.split(targets, tile), strict=True):
        logits = (part @ weight.T).float()
        losses.append(torch.logsumexp(logits, dim=1) - logits.gather(1, target[:, None])[:, 0])
    return torch.cat(losses)
