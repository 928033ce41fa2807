"""Cross-entropy under a vocabulary-sized head, for a whole population, without ever holding all the
logits.

At d = 128 the head is 94 % of a GPT-2's arithmetic, so this is the hot loop of a search. Hidden
states are visited in tiles of rows; each tile's logits live just long enough to be reduced to a
log-sum-exp."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from clso.device import has_triton
from clso.models.tables import Heads

__all__ = ["fused_kernel_fits", "population_head_loss", "row_losses"]

# logits in flight on a CPU: 4 MB, so that the three passes over them stay in cache
_CPU_TILE_ELEMENTS = 1 << 20
_CUDA_MEMORY_SHARE = 0.25  # of the free memory; logits, their exponentials and a margin


def _rows_per_tile(n_rows: int, vocab_size: int, device: torch.device) -> int:
    """Rows whose logits are computed together.

    On a CPU the tile divides a candidate's rows, so that a candidate's arithmetic, and therefore
    its loss to the last bit, does not depend on who shares the batch. On a GPU it is what a share
    of the free memory holds."""
    if device.type == "cuda":
        return max(128, _cuda_logits(device) // vocab_size)
    limit = max(32, _CPU_TILE_ELEMENTS // vocab_size)
    return next(r for r in range(min(limit, n_rows), 0, -1) if n_rows % r == 0)


@cache
def _cuda_logits(device: torch.device) -> int:
    """Logits that a share of a GPU's free memory holds, as there was when it was first asked
    for."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free * _CUDA_MEMORY_SHARE) // 12


def population_head_loss(hidden: Tensor, heads: Heads, targets: Tensor) -> Tensor:
    """Summed negative log-likelihood of `targets` for each candidate, in nats, float64 (P,).

    `hidden` is (P, N, d), `targets` (N,). On CUDA, with Triton, operands are float16 and sums
    float32; elsewhere everything is float32 and candidates that share a head are one matrix
    product."""
    if heads.basis is not None:
        hidden = hidden @ heads.basis
    n_candidates, n_rows, _ = hidden.shape
    if fused_kernel_fits(hidden.device, n_rows, hidden.shape[2], torch.float16):
        return _fused_head_loss(hidden, heads, targets)
    tables = heads.distinct(hidden.dtype)
    tile = _rows_per_tile(n_rows, tables.shape[1], hidden.device)
    out = torch.empty(n_candidates, dtype=torch.float64, device=hidden.device)
    for table in sorted(set(heads.index.tolist())):
        members = (heads.index == table).nonzero().flatten().to(hidden.device)
        rows = hidden[members].flatten(0, 1)
        losses = row_losses(rows, tables[table], targets.repeat(len(members)), tile)
        out[members] = losses.view(len(members), n_rows).double().sum(dim=1)
    return out


def fused_kernel_fits(device: torch.device, n_rows: int, d_model: int, dtype: torch.dtype) -> bool:
    """Whether the Triton kernel takes hidden states (n_rows, d_model) of this type."""
    if device.type != "cuda" or not has_triton():
        return False
    from clso.models.triton_head import ROW_TILE, TILES

    return n_rows % ROW_TILE == 0 and d_model in TILES.get(dtype, {})


def _fused_head_loss(hidden: Tensor, heads: Heads, targets: Tensor) -> Tensor:
    from clso.models.triton_head import ROW_TILE, log_sum_exp

    n_candidates, n_rows, _ = hidden.shape
    rows, tables = hidden.half().contiguous(), heads.distinct(torch.float16)
    index = heads.index.to(hidden.device)
    tiles = index.int()[:, None].expand(-1, n_rows // ROW_TILE).reshape(-1).contiguous()
    lse = log_sum_exp(rows.flatten(0, 1), tables, tiles)
    picked = tables[index[:, None], targets[None, :]]
    at_target = (rows.float() * picked.float()).sum(2)
    return (lse.view(n_candidates, n_rows) - at_target).double().sum(1)


def row_losses(rows: Tensor, weight: Tensor, targets: Tensor, tile: int | None = None) -> Tensor:
    """Negative log-likelihood (n,) of targets (n,) for hidden rows (n, d) under one head (V, d), a
    tile at a time."""
    if tile is None and fused_kernel_fits(rows.device, len(rows), rows.shape[1], rows.dtype):
        return _fused_row_losses(rows, weight, targets)
    tile = _rows_per_tile(len(rows), weight.shape[0], rows.device) if tile is None else tile
    losses = []
    for part, target in zip(torch.split(rows, tile), torch.split(targets, tile), strict=True):
        logits = (part @ weight.T).float()
        losses.append(torch.logsumexp(logits, dim=1) - logits.gather(1, target[:, None])[:, 0])
    return torch.cat(losses)


def _fused_row_losses(rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """`row_losses` by the Triton kernel on float32 operands, each product in three TF32 ones:
    errors near 1e-6."""
    from clso.models.triton_head import ROW_TILE, log_sum_exp

    rows = rows.contiguous()
    only = torch.zeros(len(rows) // ROW_TILE, dtype=torch.int32, device=rows.device)
    return log_sum_exp(rows, weight[None].contiguous(), only) - (rows * weight[targets]).sum(1)
