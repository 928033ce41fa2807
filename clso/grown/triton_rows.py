"""Conjugate gradients of every row of a least-squares half-step in Triton kernels.

Written with the platform's sparse products, a half-step is some eighty short kernels that wait for
their longest row. Here each program takes one row through all of its steps, and its vectors never
leave the registers. A text's rows are as uneven as its words, so the few long ones get wide
programs and the many short ones narrow programs. For the longest, which would keep one program busy
for longer than all others together, many programs first form the matrix of the row, a segment of its
pairs each."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["RowsByLength", "by_length", "solve_rows"]

_LONGEST, _LONG, _SHORT = 1024, 256, 32  # pairs of a row
_SEGMENT, _SEGMENTS = 512, 4096  # pairs of a segment at least, and about how many segments at most
_TILE = 32  # pairs that are multiplied at once
_WIDTHS = (
    (256, 8),
    (32, 1),
    (8, 1),
)  # pairs at once and warps: of long rows, of others, of short ones


@triton.jit  # type: ignore[untyped-decorator]
def _pairs(first, end, column, weight, other, d, k, PAIRS: tl.constexpr):  # type: ignore[no-untyped-def]
    """Places of the next pairs, which of them are there, their weights, and the other side's codes."""
    pair = first + tl.arange(0, PAIRS)
    inside = pair < end
    w = tl.load(weight + pair, mask=inside, other=0.0)
    j = tl.load(column + pair, mask=inside, other=0)
    real = inside[:, None] & (d < k)[None, :]
    return pair, inside, w, tl.load(other + j[:, None] * k + d[None, :], mask=real, other=0.0)


@triton.jit
def _step(x, residual, direction, norm, image):  # type: ignore[no-untyped-def]
    """A step of conjugate gradients; `image` is the direction's."""
    length = norm / tl.maximum(tl.sum(direction * image, 0), 1e-20)
    x += length * direction
    residual -= length * image
    new_norm = tl.sum(residual * residual, 0)
    direction = residual + new_norm / tl.maximum(norm, 1e-20) * direction
    return x, residual, direction, new_norm


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
        pair, inside, w, code = _pairs(first, end, column, weight, other, d, k, PAIRS)
        target = tl.load(weighted_target + pair, mask=inside, other=0.0)
        residual += tl.sum((target - w * tl.sum(code * x[None, :], 1))[:, None] * code, 0)
    direction = residual
    norm = tl.sum(residual * residual, 0)
    for _ in range(steps):
        image = own * direction
        for first in range(begin, end, PAIRS):
            pair, inside, w, code = _pairs(first, end, column, weight, other, d, k, PAIRS)
            image += tl.sum((w * tl.sum(code * direction[None, :], 1))[:, None] * code, 0)
        x, residual, direction, norm = _step(x, residual, direction, norm, image)
    tl.store(out + at, x, mask=real)


@triton.jit  # type: ignore[untyped-decorator]
def _segment_kernel(  # type: ignore[no-untyped-def]
    begins, ends, column, weight, weighted_target, other, matrices, sides, k,
    K: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    segment = tl.program_id(0)
    begin = tl.load(begins + segment)
    end = tl.load(ends + segment)
    d = tl.arange(0, K)
    matrix = tl.zeros((K, K), tl.float32)
    side = tl.zeros((K,), tl.float32)
    for first in range(begin, end, PAIRS):
        pair, inside, w, code = _pairs(first, end, column, weight, other, d, k, PAIRS)
        target = tl.load(weighted_target + pair, mask=inside, other=0.0)
        matrix += tl.dot(tl.trans(code * w[:, None]), code, input_precision="tf32x3")
        side += tl.sum(code * target[:, None], 0)
    tl.store(matrices + segment * K * K + d[:, None] * K + d[None, :], matrix)
    tl.store(sides + segment * K + d, side)


@triton.jit  # type: ignore[untyped-decorator]
def _matrix_kernel(  # type: ignore[no-untyped-def]
    rows, offset, matrices, sides, row_weight, start, out, k, steps, K: tl.constexpr,
):  # fmt: skip
    row = tl.load(rows + tl.program_id(0))
    begin = tl.load(offset + tl.program_id(0))
    end = tl.load(offset + tl.program_id(0) + 1)
    d = tl.arange(0, K)
    at = row * k + d
    real = d < k
    matrix = tl.zeros((K, K), tl.float32)
    side = tl.zeros((K,), tl.float32)
    for segment in range(begin, end):
        matrix += tl.load(matrices + segment * K * K + d[:, None] * K + d[None, :])
        side += tl.load(sides + segment * K + d)
    own = tl.load(row_weight + row)
    x = tl.load(start + at, mask=real, other=0.0)
    residual = side - own * x - tl.sum(matrix * x[:, None], 0)  # the matrix is symmetric
    direction = residual
    norm = tl.sum(residual * residual, 0)
    for _ in range(steps):
        image = own * direction + tl.sum(matrix * direction[:, None], 0)
        x, residual, direction, norm = _step(x, residual, direction, norm, image)
    tl.store(out + at, x, mask=real)


@dataclass(frozen=True)
class RowsByLength:
    """Rows that are worked on alike.

    Attributes
    ----------
    longest : rows of which the matrix is formed.
    segments : (n,) each, where the segments of these rows begin and end among the pairs.
    of_row : (len(longest) + 1,) where the segments of each begin.
    others : long rows, those between, short ones.
    """

    longest: Tensor
    segments: tuple[Tensor, Tensor]
    of_row: Tensor
    others: tuple[Tensor, ...]


def by_length(offset: Tensor) -> RowsByLength:
    """Rows whose pairs are bounded by `offset` (R + 1,)."""
    length = offset.diff()
    longest = (length > _LONGEST).nonzero().flatten()
    begin, n_pairs = offset[longest], length[longest]
    size = max(_SEGMENT, int(n_pairs.sum()) // _SEGMENTS)
    n_segments = (n_pairs + size - 1) // size
    of_row = torch.nn.functional.pad(torch.cumsum(n_segments, 0), (1, 0))
    row = torch.repeat_interleave(torch.arange(len(longest), device=offset.device), n_segments)
    first = begin[row] + (torch.arange(len(row), device=offset.device) - of_row[row]) * size
    last = torch.minimum(first + size, (begin + n_pairs)[row])
    long, short = length > _LONG, length <= _SHORT
    classes = (long & (length <= _LONGEST), ~(long | short), short)
    others = tuple(rows.nonzero().flatten() for rows in classes)
    return RowsByLength(longest, (first, last), of_row, others)


def solve_rows(
    rows: RowsByLength,
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
    width = max(16, triton.next_power_of_2(k))
    out = torch.empty(len(offset) - 1, k, device=other.device)
    given = (offset, column, weight, weighted_target, other, row_weight, start)
    operands = [operand.contiguous() for operand in given]

    def launch(chosen: Tensor, pairs: int, warps: int) -> None:
        if len(chosen):
            kernel: Any = _kernel[(len(chosen),)]
            kernel(chosen, *operands, out, k, steps, K=width, PAIRS=pairs, num_warps=warps)

    # The long rows keep a few processors busy for long: all others are done meanwhile.
    here, beside = torch.cuda.current_stream(out.device), _beside(out.device)
    beside.wait_stream(here)
    with torch.cuda.stream(beside):
        if len(rows.longest):
            n_segments = len(rows.segments[0])
            matrices = torch.empty(n_segments, width, width, device=out.device)
            sides = torch.empty(n_segments, width, device=out.device)
            form: Any = _segment_kernel[(n_segments,)]
            warps = 4 if width <= 64 else 8
            form(
                *rows.segments, *operands[1:5], matrices, sides, k,
                K=width, PAIRS=_TILE, num_warps=warps,
            )  # fmt: skip
            solve: Any = _matrix_kernel[(len(rows.longest),)]
            solve(
                rows.longest, rows.of_row, matrices, sides, *operands[5:], out, k, steps,
                K=width, num_warps=8,
            )  # fmt: skip
        launch(rows.others[0], *_WIDTHS[0])
    for chosen, size in zip(rows.others[1:], _WIDTHS[1:], strict=True):
        launch(chosen, *size)
    here.wait_stream(beside)
    return out


@cache
def _beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
