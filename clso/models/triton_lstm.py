"""An LSTM's recurrence, and its gradient, as one Triton kernel each: a program goes through the steps
of a sequence with the recurrent weights in registers. cuDNN starts kernels for each step.

Letters of constants: D hidden units. Gates are in torch's order: input, forget, candidate, output.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fits", "lstm"]

_MOST_BATCH = 128  # sequences, a program each; cuDNN shares its kernels out among more
_WARPS = 8


def fits(n_batch: int, d: int) -> bool:
    """Whether the kernels take these sizes."""
    return n_batch <= _MOST_BATCH and 16 <= d <= 64 and d & (d - 1) == 0


def lstm(gates: Tensor, weight: Tensor) -> Tensor:
    """Hidden states (B, T, d) from what the inputs add to the gates (B, T, 4 d), biases included, and
    recurrent weights (4 d, d). In float32 on CUDA. Differentiable once."""
    out: Tensor = _LSTM.apply(gates.contiguous(), weight.contiguous())  # type: ignore[no-untyped-call]
    return out


class _LSTM(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, weight: Tensor) -> Tensor:
        n_batch, n_steps, _ = gates.shape
        d = weight.shape[1]
        hidden, cell = gates.new_empty(2, n_batch, n_steps, d).unbind()
        launch: Any = _advance[(n_batch,)]
        launch(gates, weight, hidden, cell, n_steps, D=d, num_warps=_WARPS)
        ctx.save_for_backward(gates, weight, hidden, cell)
        return hidden

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gates, weight, hidden, cell = ctx.saved_tensors
        n_batch, n_steps, d = hidden.shape
        before = F.pad(hidden[:, :-1], (0, 0, 1, 0))
        arguments = torch.baddbmm(gates, before, weight.t().expand(n_batch, -1, -1))
        i, f, g, o = arguments.chunk(4, dim=-1)
        i, f, g, o, seen = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid(), cell.tanh()
        # derivatives: of the cell by the first three gates' arguments, of the output by the last
        by_gate = (
            g * i * (1 - i),
            F.pad(cell[:, :-1], (0, 0, 1, 0)) * f * (1 - f),
            i * (1 - g * g),
            seen * o * (1 - o),
        )
        d_hidden, d_cell = torch.empty_like(hidden), torch.empty_like(cell)
        # a row for each unit that is listened to, so that it adds up its own
        listened = weight.view(4, d, d).transpose(1, 2).contiguous()
        launch: Any = _retreat[(n_batch,)]
        launch(
            grad.contiguous(), listened, *by_gate, o * (1 - seen * seen), f.contiguous(),
            d_hidden, d_cell, n_steps, D=d, num_warps=_WARPS,
        )  # fmt: skip
        of = (d_cell, d_cell, d_cell, d_hidden)
        d_gates = torch.cat([x * y for x, y in zip(of, by_gate, strict=True)], dim=-1)
        d_weight: Tensor = d_gates.flatten(0, 1).t() @ before.flatten(0, 1)
        return d_gates, d_weight


@triton.jit
def _tanh(x):  # type: ignore[no-untyped-def]
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit  # type: ignore[untyped-decorator]
def _by_gate(weight, d, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """The recurrent weights of each gate (D, D)."""
    at = d[:, None] * D + d[None, :]
    i, f = tl.load(weight + at), tl.load(weight + D * D + at)
    g, o = tl.load(weight + 2 * D * D + at), tl.load(weight + 3 * D * D + at)
    return i, f, g, o


@triton.jit(do_not_specialize=["n_steps"])  # type: ignore[untyped-decorator]
def _advance(gates, weight, hidden, cell, n_steps, D: tl.constexpr):  # type: ignore[no-untyped-def]
    sequence = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    w_i, w_f, w_g, w_o = _by_gate(weight, d, D)
    h, c = tl.zeros((D,), tl.float32), tl.zeros((D,), tl.float32)
    here = gates + sequence * n_steps * (4 * D) + d
    i, f = tl.load(here), tl.load(here + D)
    g, o = tl.load(here + 2 * D), tl.load(here + 3 * D)
    for t in range(n_steps):
        now = sequence * n_steps + t
        # the next step's are on their way while this one's are used
        ahead, there = gates + (now + 1) * (4 * D) + d, (d >= 0) & (t + 1 < n_steps)
        next_i = tl.load(ahead, mask=there, other=0.0)
        next_f = tl.load(ahead + D, mask=there, other=0.0)
        next_g = tl.load(ahead + 2 * D, mask=there, other=0.0)
        next_o = tl.load(ahead + 3 * D, mask=there, other=0.0)
        i += tl.sum(w_i * h[None, :], 1)
        f += tl.sum(w_f * h[None, :], 1)
        g += tl.sum(w_g * h[None, :], 1)
        o += tl.sum(w_o * h[None, :], 1)
        c = tl.sigmoid(f) * c + tl.sigmoid(i) * _tanh(g)
        h = tl.sigmoid(o) * _tanh(c)
        tl.store(hidden + now * D + d, h)
        tl.store(cell + now * D + d, c)
        i, f, g, o = next_i, next_f, next_g, next_o


@triton.jit(do_not_specialize=["n_steps"])  # type: ignore[untyped-decorator]
def _retreat(  # type: ignore[no-untyped-def]
    grad, weight, by_i, by_f, by_g, by_o, by_cell, kept, d_hidden, d_cell, n_steps, D: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    w_i, w_f, w_g, w_o = _by_gate(weight, d, D)
    h, c = tl.zeros((D,), tl.float32), tl.zeros((D,), tl.float32)
    now = (sequence * n_steps + n_steps - 1) * D + d
    i, f, g, o = tl.load(by_i + now), tl.load(by_f + now), tl.load(by_g + now), tl.load(by_o + now)
    seen, keep, given = tl.load(by_cell + now), tl.load(kept + now), tl.load(grad + now)
    for back in range(n_steps):
        there, ahead = (d >= 0) & (back + 1 < n_steps), now - D
        next_i = tl.load(by_i + ahead, mask=there, other=0.0)
        next_f = tl.load(by_f + ahead, mask=there, other=0.0)
        next_g = tl.load(by_g + ahead, mask=there, other=0.0)
        next_o = tl.load(by_o + ahead, mask=there, other=0.0)
        next_seen = tl.load(by_cell + ahead, mask=there, other=0.0)
        next_keep = tl.load(kept + ahead, mask=there, other=0.0)
        next_given = tl.load(grad + ahead, mask=there, other=0.0)
        by_c = w_i * i[None, :] + w_f * f[None, :] + w_g * g[None, :]
        h += given
        c += h * seen
        tl.store(d_hidden + now, h)
        tl.store(d_cell + now, c)
        h = tl.sum(by_c * c[None, :] + w_o * (h * o)[None, :], 1)
        c *= keep
        i, f, g, o = next_i, next_f, next_g, next_o
        seen, keep, given, now = next_seen, next_keep, next_given, ahead
