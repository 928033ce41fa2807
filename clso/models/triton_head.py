"""The head's log-sum-exp as one Triton kernel: logits are reduced in registers and never reach
memory.

At d = 128 a row of 50,257 logits is 100 kB in half precision against 13 MFLOP of work, so a version
that stores logits is bound by memory at a fraction of the matrix units' rate. Here each program
holds a tile of hidden rows, streams the head through shared memory and keeps a running maximum and
sum (Milakov & Gimelshein 2018, arXiv:1805.02867), as flash attention does. Operands are float16,
accumulation is float32."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["ROW_TILE", "TILES", "log_sum_exp"]

ROW_TILE = 128  # rows of one program; a tile's rows must share a head
TILES = {
    torch.float16: {
        16: (128, 3),
        32: (128, 3),
        64: (128, 3),
        128: (128, 3),
        256: (64, 3),
        512: (32, 2),
    },
    torch.float32: {16: (64, 2), 32: (64, 2), 64: (64, 2), 128: (64, 2)},
}
"""For each type and width d of the operands: columns of a tile and stages of the pipeline, as
shared memory holds them."""

_SPLITS = 4  # programs that share a row tile, each with a part of the vocabulary


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    rows, heads, table_of_tile, maxima, sums, n_vocab, n_rows, columns_per_split,
    D: tl.constexpr, M: tl.constexpr, N: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    log2e: tl.constexpr = 1.4426950408889634
    tile = tl.program_id(0)
    split = tl.program_id(1)
    table = tl.load(table_of_tile + tile).to(tl.int64)
    m_index = tile * M + tl.arange(0, M)
    d_index = tl.arange(0, D)
    x = tl.load(rows + m_index.to(tl.int64)[:, None] * D + d_index[None, :])
    head = heads + table * n_vocab * D
    begin = split * columns_per_split
    end = tl.minimum(begin + columns_per_split, n_vocab)
    whole = begin + (end - begin) // N * N
    top = tl.full((M,), -1.0e30, tl.float32)
    total = tl.zeros((M,), tl.float32)
    for start in range(begin, whole, N):
        n_index = start + tl.arange(0, N)
        w = tl.load(head + n_index[None, :] * D + d_index[:, None])
        logits = tl.dot(x, w, input_precision=PRECISION)
        new_top = tl.maximum(top, tl.max(logits, 1) * log2e)
        total = total * tl.exp2(top - new_top) + tl.sum(
            tl.exp2(logits * log2e - new_top[:, None]), 1
        )
        top = new_top
    if whole < end:
        n_index = whole + tl.arange(0, N)
        inside = n_index < end
        w = tl.load(head + n_index[None, :] * D + d_index[:, None], mask=inside[None, :], other=0.0)
        logits = tl.where(inside[None, :], tl.dot(x, w, input_precision=PRECISION), -1.0e30)
        new_top = tl.maximum(top, tl.max(logits, 1) * log2e)
        total = total * tl.exp2(top - new_top) + tl.sum(
            tl.exp2(logits * log2e - new_top[:, None]), 1
        )
        top = new_top
    tl.store(maxima + split * n_rows + m_index, top)
    tl.store(sums + split * n_rows + m_index, total)


def log_sum_exp(rows: Tensor, heads: Tensor, table_of_tile: Tensor) -> Tensor:
    """log sum_v exp(rows . heads[table]_v) for each row, float32 (n,).

    `rows` (n, d) with n a multiple of `ROW_TILE`, `heads` (E, V, d), both contiguous, of one type
    and of a width that `TILES` has; `table_of_tile` (n / ROW_TILE,) int32 says which head a tile's
    rows use."""
    n, d = rows.shape
    v = heads.shape[1]
    if n % ROW_TILE or not all(x.is_contiguous() for x in (rows, heads, table_of_tile)):
        raise ValueError(
            f"contiguous operands, rows in whole tiles of {ROW_TILE}, not {tuple(rows.shape)}"
        )
    columns, stages = TILES[rows.dtype][d]
    per_split = -(-v // (_SPLITS * columns)) * columns
    splits = -(-v // per_split)
    maxima = torch.empty(splits, n, device=rows.device)
    sums = torch.empty_like(maxima)
    launch: Any = _kernel[(n // ROW_TILE, splits)]
    launch(
        rows, heads, table_of_tile, maxima, sums, v, n, per_split,
        D=d, M=ROW_TILE, N=columns, PRECISION="ieee" if rows.dtype == torch.float16 else "tf32x3",
        num_warps=8, num_stages=stages,
    )  # fmt: skip
    top = maxima.amax(0)
    return (top + torch.log2((sums * torch.exp2(maxima - top)).sum(0))) * 0.6931471805599453
