"""Cross-entropy under a vocabulary-sized head, for a whole population, without ever holding all the
logits.

At d = 128 the head is 94 % of a GPT-2's arithmetic, so this is the hot loop of a search. Each
tile's logits live just long enough to be reduced to a log-sum-exp."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.device import has_triton
from clso.models.log_sum_exp import log_sum_exp
from clso.models.tables import Heads

__all__ = ["fused_kernel_fits", "fused_width", "population_head_loss", "row_losses"]


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
    out = torch.empty(n_candidates, dtype=torch.float64, device=hidden.device)
    for table in sorted(set(heads.index.tolist())):
        members = (heads.index == table).nonzero().flatten().to(hidden.device)
        rows = hidden[members].flatten(0, 1)
        losses = row_losses(rows, tables[table], targets.repeat(len(members)), n_rows)
        out[members] = losses.view(len(members), n_rows).double().sum(dim=1)
    return out


def fused_kernel_fits(device: torch.device, n_rows: int, d_model: int, dtype: torch.dtype) -> bool:
    """Whether the Triton kernel takes hidden states (n_rows, d_model) of this type."""
    if device.type != "cuda" or not has_triton():
        return False
    from clso.models.triton_head import ROW_TILE, TILES

    return n_rows % ROW_TILE == 0 and d_model in TILES.get(dtype, {})


def fused_width(width: int, device: torch.device) -> int:
    """The columns to give a head of `width` columns that are not zero: on CUDA, with Triton, the
    fewest that its kernel takes."""
    if device.type != "cuda" or not has_triton():
        return width
    from clso.models.triton_head import TILES

    return min((w for w in TILES[torch.float16] if w >= width), default=width)


def _fused_head_loss(hidden: Tensor, heads: Heads, targets: Tensor) -> Tensor:
    from clso.models.triton_head import ROW_TILE
    from clso.models.triton_head import log_sum_exp as fused_log_sum_exp

    n_candidates, n_rows, _ = hidden.shape
    rows, tables = hidden.half().contiguous(), heads.distinct(torch.float16)
    index = heads.index.to(hidden.device)
    tiles = index.int()[:, None].expand(-1, n_rows // ROW_TILE).reshape(-1).contiguous()
    lse = fused_log_sum_exp(rows.flatten(0, 1), tables, tiles)
    picked = tables[index[:, None], targets[None, :]]
    at_target = (rows.float() * picked.float()).sum(2)
    return (lse.view(n_candidates, n_rows) - at_target).double().sum(1)


def row_losses(rows: Tensor, weight: Tensor, targets: Tensor, group: int | None = None) -> Tensor:
    """Negative log-likelihood (n,) of targets (n,) for hidden rows (n, d) under one head (V, d);
    `group` as in `log_sum_exp`. If gradients are wanted, whole rows of logits are kept."""
    if torch.is_grad_enabled() and (rows.requires_grad or weight.requires_grad):
        return F.cross_entropy(rows.float() @ weight.float().T, targets, reduction="none")
    if group is None and fused_kernel_fits(rows.device, len(rows), rows.shape[1], rows.dtype):
        return _fused_row_losses(rows, weight, targets)
    at_target = (rows.float() * weight[targets].float()).sum(1)
    return log_sum_exp(rows, weight, group) - at_target


def _fused_row_losses(rows: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
    """`row_losses` by the Triton kernel on float32 operands, each product in three TF32 ones:
    errors near 1e-6."""
    from clso.models.triton_head import ROW_TILE
    from clso.models.triton_head import log_sum_exp as fused_log_sum_exp

    rows = rows.contiguous()
    only = torch.zeros(len(rows) // ROW_TILE, dtype=torch.int32, device=rows.device)
    return fused_log_sum_exp(rows, weight[None].contiguous(), only) - (rows * weight[targets]).sum(
        1
    )
