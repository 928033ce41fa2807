"""Log-sum-exp of logits under a vocabulary-sized head, without a row of logits ever being whole.

A row of 50,257 logits is 200 kB: tiles of whole rows read the entire head for each few rows, and
what they make leaves the cache before it is reduced. Here a tile has some rows and some columns;
each row keeps a running maximum and a sum of exponentials under it (Milakov & Gimelshein 2018,
arXiv:1805.02867). On a CPU with a compiler that is one pass in C; the Triton kernel (`clso.models.triton_head`) does the
same on a GPU."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.models import native, native_head
from clso.models.fused import difference, is_trusted

__all__ = ["log_sum_exp"]

# Rows and columns of a tile. 2 MB of logits stay in a processor's cache; a GPU wants large products.
_CPU_TILE, _CUDA_TILE = (512, 1024), (16384, 8192)


@torch.no_grad()
def log_sum_exp(rows: Tensor, table: Tensor, group: int | None = None) -> Tensor:
    """log sum_v exp(rows . table_v) for rows (n, d) under one head (V, d): (n,) float32.

    `group`: rows come in groups of so many (all of them by default), and no tile on a CPU spans
    two, so that a group's result is the same to the last bit whatever groups are beside it."""
    n_rows, n_columns = _CUDA_TILE if rows.is_cuda else _CPU_TILE
    group = len(rows) if group is None or rows.is_cuda else group
    # whole tiles, then the group's rest: a divisor of a prime length would be one row
    sizes = [n_rows] * (group // n_rows) + [group % n_rows] * (group % n_rows > 0)
    parts = torch.split(rows, sizes * (len(rows) // group) if group else 0)
    logits = rows.new_empty(min(n_rows, len(rows)) * min(n_columns, len(table)))
    return torch.cat([_one_tile_of_rows(part, table, n_columns, logits) for part in parts])


def _one_tile_of_rows(rows: Tensor, table: Tensor, n_columns: int, memory: Tensor) -> Tensor:
    """`log_sum_exp` of rows (n, d); `memory` holds a tile's logits."""
    # finite, so that a tile of logits that are all -inf leaves it there
    top = torch.full((len(rows), 1), torch.finfo(torch.float32).min, device=rows.device)
    total = torch.zeros(len(rows), 1, device=rows.device)
    advance = native_head.advance if _in_c(rows) else _advance
    for columns in torch.split(table, n_columns):
        logits = memory[: len(rows) * len(columns)].view(len(rows), len(columns))
        advance(torch.mm(rows, columns.T, out=logits).float(), top, total)
    return (top + total.log())[:, 0]


def _advance(logits: Tensor, top: Tensor, total: Tensor) -> None:
    """As `native_head.advance`; the logits are lost."""
    new_top = torch.maximum(top, logits.amax(1, keepdim=True))
    total *= torch.exp(top - new_top)
    total += logits.sub_(new_top).exp_().sum(1, keepdim=True)
    top.copy_(new_top)


def _in_c(rows: Tensor) -> bool:
    return native.is_possible(rows) and is_trusted("log-sum-exp in C", rows.device, _difference)


def _difference() -> float:
    """Between both ways, on two tiles."""
    tiles = [3 * torch.randn(5, n, generator=torch.Generator().manual_seed(n)) for n in (37, 64)]
    found = []
    for advance in (native_head.advance, _advance):
        top, total = torch.full((5, 1), torch.finfo(torch.float32).min), torch.zeros(5, 1)
        for tile in tiles:
            advance(tile.clone(), top, total)
        found.append((top, total))
    return difference(*found)
