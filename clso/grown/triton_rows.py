"""Conjugate gradients of every row of a least-squares half-step in one Triton kernel.

Written with the platform's sparse products, a half-step is some eighty short kernels that wait for
their longest row. Here each program takes one row through all of its steps, and its vectors never
leave the registers. A text's rows are as uneven as its words, so the few long ones get wide
programs and the many short ones narrow programs."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["by_length", "solve_rows"]

_LONG, _SHORT = 256, 32  # pairs of a row
_WIDTHS = (
    (256, 8),
    (32, 1),
    (8, 1),
)  # pairs at once and warps: of long rows, of others, of short ones


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    rows, offset, column, weight, weighted_target, other, row_weight, start, out, k, steps,
    K: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    row = tl.load(rows + tl.program_id(0))
    begin = tl.load(offset + row)
    end = tl.load(offset + row + 1)
    d = tl.arange(0, K)
    real = d < k
    at = row * k + d
    own = tl.load(row_weight + row)
    x = tl.load(start + at, mask=real, other=0.0)
    residual = -own * x
    for first in range(begin, end, PAIRS):
        pair = first + tl.arange(0, PAIRS)
        inside = pair < end
        w = tl.load(weight + pair, mask=inside, other=0.0)
        target = tl.load(weighted_target + pair, mask=inside, other=0.0)
        j = tl.load(column + pair, mask=inside, other=0)
        code = tl.load(
            other + j[:, None] * k + d[None, :], mask=inside[:, None] & real[None, :], other=0.0
        )
        residual += tl.sum((target - w * tl.sum(code * x[None, :], 1))[:, None] * code, 0)
    direction = residual
    norm = tl.sum(residual * residual, 0)
    for _ in range(steps):
        image = own * direction
        for first in range(begin, end, PAIRS):
            pair = first + tl.arange(0, PAIRS)
            inside = pair < end
            w = tl.load(weight + pair, mask=inside, other=0.0)
            j = tl.load(column + pair, mask=inside, other=0)
            code = tl.load(
                other + j[:, None] * k + d[None, :], mask=inside[:, None] & real[None, :], other=0.0
            )
            image += tl.sum((w * tl.sum(code * direction[None, :], 1))[:, None] * code, 0)
        length = norm / tl.maximum(tl.sum(direction * image, 0), 1e-20)
        x += length * direction
        residual -= length * image
        new_norm = tl.sum(residual * residual, 0)
        direction = residual + new_norm / tl.maximum(norm, 1e-20) * direction
        norm = new_norm
    tl.store(out + at, x, mask=real)


def by_length(offset: Tensor) -> tuple[Tensor, ...]:
    """The long rows, the short ones, and between them the others."""
    length = offset.diff()
    long, short = length > _LONG, length <= _SHORT
    return tuple(rows.nonzero().flatten() for rows in (long, ~(long | short), short))


def solve_rows(
    rows: tuple[Tensor, ...],
    offset: Tensor,
    column: Tensor,
    weight: Tensor,
    weighted_target: Tensor,
    other: Tensor,
    row_weight: Tensor,
    start: Tensor,
    steps: int,
) -> Tensor:
    """For each row i, `steps` steps towards (own_i I + sum_j w_ij b_j b_j^T) x_i = sum_j t_ij b_j:
    (R, k) float32.

    `rows` are those of `by_length(offset)`; `offset` (R + 1,) and `column` (n,) are compressed rows
    of pairs, `weight` and `weighted_target` (n,) their w and t; `other` (V, k) holds b,
    `row_weight` (R,) own, `start` (R, k) the first x."""
    k = other.shape[1]
    out = torch.empty(len(offset) - 1, k, device=other.device)
    given = (offset, column, weight, weighted_target, other, row_weight, start)
    operands = [operand.contiguous() for operand in given]

    def launch(chosen: Tensor, pairs: int, warps: int) -> None:
        if len(chosen):
            kernel: Any = _kernel[(len(chosen),)]
            width = max(16, triton.next_power_of_2(k))
            kernel(chosen, *operands, out, k, steps, K=width, PAIRS=pairs, num_warps=warps)

    # The few longest rows keep a few processors busy for long: all others are done meanwhile.
    here, beside = torch.cuda.current_stream(out.device), _beside(out.device)
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        launch(rows[0], *_WIDTHS[0])
    for chosen, width in zip(rows[1:], _WIDTHS[1:], strict=True):
        launch(chosen, *width)
    here.wait_stream(beside)
    return out


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
