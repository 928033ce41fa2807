"""The least squares' sparse products as one Triton kernel.

The platform's sparse kernels take one program for a row, and a text's rows are as uneven as its words: the longest one
holds everybody up. Here a row is cut into short runs, and each program sums one.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["Runs"]

_RUN = 128  # pairs of one program
_STEP = 32  # of them at once


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    run_row, run_begin, run_end, column, weight, x, other, out, k,
    K: tl.constexpr, STEP: tl.constexpr, INNER: tl.constexpr,
):  # fmt: skip
    run = tl.program_id(0)
    row = tl.load(run_row + run).to(tl.int64)
    begin = tl.load(run_begin + run)
    end = tl.load(run_end + run)
    d = tl.arange(0, K)
    total = tl.zeros((K,), tl.float32)
    if INNER:
        own = tl.load(x + row * k + d, mask=d < k, other=0.0)
    for start in range(begin, end, STEP):
        pair = start + tl.arange(0, STEP)
        inside = pair < end
        w = tl.load(weight + pair, mask=inside, other=0.0)
        j = tl.load(column + pair, mask=inside, other=0)
        code = tl.load(other + j[:, None] * k + d[None, :], mask=inside[:, None] & (d < k)[None, :], other=0.0)
        if INNER:
            w = w * tl.sum(code * own[None, :], 1)
        total += tl.sum(w[:, None] * code, 0)
    tl.atomic_add(out + row * k + d, total, mask=d < k)


class Runs:
    """Rows of pairs, cut into runs of one row each: `offset` (R + 1,) says where rows begin, `column` (n,) what is paired."""

    def __init__(self, offset: Tensor, column: Tensor) -> None:
        n_runs = (offset.diff() + _RUN - 1) // _RUN
        first = n_runs.cumsum(0) - n_runs
        self._row = torch.repeat_interleave(n_runs)
        place = torch.arange(len(self._row), device=offset.device) - first[self._row]
        self._begin = offset[self._row] + place * _RUN
        self._end = torch.minimum(self._begin + _RUN, offset[self._row + 1])
        self._column, self._n_rows = column, len(offset) - 1

    def products(self, weight: Tensor, other: Tensor, x: Tensor | None = None) -> Tensor:
        """sum_j w_ij other_j for each row i, or with `x` (R, k) sum_j w_ij (x_i . other_j) other_j: (R, k) float32."""
        k = other.shape[1]
        out = other.new_zeros(self._n_rows, k)
        launch: Any = _kernel[(len(self._row),)]
        launch(
            self._row, self._begin, self._end, self._column, weight, other if x is None else x.contiguous(),
            other.contiguous(), out, k,
            K=triton.next_power_of_2(k), STEP=_STEP, INNER=x is not None, num_warps=1,
        )  # fmt: skip
        return out
