"""Linear recurrences h_t = a_t h_{t-1} + b_t over time, exact, in linear time and memory.

On CUDA, with Triton, a scan is one kernel (`clso.models.triton_scan`). In plain torch one of T steps
is cut into about sqrt(T) chunks that are scanned side by side, then joined: 2 sqrt(T) steps in Python
instead of T, and no division by vanishing products."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from clso.models.fused import difference, is_possible, is_trusted

__all__ = ["in_segments", "linear_scan"]


def linear_scan(decay: Tensor, inputs: Tensor, initial: Tensor | None = None) -> Tensor:
    """All h_t = decay_t * h_{t-1} + inputs_t along dim 1: (B, T, ...) twice -> (B, T, ...).

    `initial` (B, ...) is h before the first step, zero when left out. Differentiable once: the
    gradient is the same recurrence backwards, so that only `decay` and the result are kept for it.
    """
    start = torch.zeros_like(inputs[:, 0]) if initial is None else initial
    out: Tensor = _LinearScan.apply(decay, inputs, start)  # type: ignore[no-untyped-call]
    return out


def in_segments(
    step: Callable[..., tuple[Tensor, Tensor]], state: Tensor, inputs: Sequence[Tensor], size: int
) -> tuple[Tensor, Tensor]:
    """Run `step(state, *parts) -> (state, outputs)` over `size` tokens (dim 1) at a time: (last
    state, all outputs).

    Between segments only the state is kept: what a step expands is computed again for its gradient.
    """
    outputs = []
    for parts in zip(*(torch.split(x, size, dim=1) for x in inputs), strict=True):
        if torch.is_grad_enabled():
            state, out = checkpoint(
                step, state, *parts, use_reentrant=False, preserve_rng_state=False
            )
        else:
            state, out = step(state, *parts)
        outputs.append(out)
    return state, torch.cat(outputs, dim=1)


def _scan(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    if _is_fused(inputs):
        return _fused(decay, inputs, initial, reverse=False)
    return _plain(decay, inputs, initial)


def _scan_back(decay: Tensor, grad: Tensor) -> Tensor:
    """All g_t = decay_{t+1} g_{t+1} + grad_t."""
    nothing = torch.zeros_like(grad[:, 0])
    if _is_fused(grad):
        return _fused(decay, grad, nothing, reverse=True)
    return _plain_back(decay, grad, nothing)


def _plain(decay: Tensor, inputs: Tensor, initial: Tensor) -> Tensor:
    n_steps = inputs.shape[1]
    size = math.isqrt(n_steps - 1) + 1
    padding = (0, 0) * (inputs.dim() - 2) + (0, -n_steps % size)
    h, carried = (
        F.pad(x, padding).reshape(len(x), -1, size, *x.shape[2:]).clone() for x in (inputs, decay)
    )
    # every chunk from zero; `carried` becomes the product of its decays so far
    for i in range(1, size):
        h[:, :, i].addcmul_(carried[:, :, i], h[:, :, i - 1])
        carried[:, :, i] *= carried[:, :, i - 1]
    for j in range(h.shape[1]):
        h[:, j].addcmul_(carried[:, j], (h[:, j - 1, -1] if j else initial)[:, None])
    out: Tensor = h.flatten(1, 2)[:, :n_steps]
    return out


def _plain_back(decay: Tensor, grad: Tensor, last: Tensor) -> Tensor:
    later = torch.cat((decay[:, 1:], torch.zeros_like(decay[:, :1])), dim=1)
    return _plain(later.flip(1), grad.flip(1), last).flip(1)


def _is_fused(x: Tensor) -> bool:
    if not is_possible(x):
        return False
    return is_trusted("linear scan", x.device, lambda: _difference(x.device))


def _fused(decay: Tensor, inputs: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    from clso.models import triton_scan

    return triton_scan.linear_scan(decay, inputs, initial, reverse=reverse)


def _difference(device: torch.device) -> float:
    """Between the kernel and plain torch, both ways, over more steps than it holds at once."""
    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(2, 1100, 6, generator=generator).to(device)
    inputs = torch.randn(2, 1100, 6, generator=generator).to(device)
    first = inputs[:, 0] + 1
    nothing = torch.zeros_like(first)
    return difference(
        (
            _fused(decay, inputs, first, reverse=False),
            _fused(decay, inputs, nothing, reverse=True),
        ),
        (_plain(decay, inputs, first), _plain_back(decay, inputs, nothing)),
    )


class _LinearScan(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, decay: Tensor, inputs: Tensor, initial: Tensor
    ) -> Tensor:
        h = _scan(decay, inputs, initial)
        ctx.save_for_backward(decay, h, initial)
        return h

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(
        ctx: torch.autograd.function.FunctionCtx, grad: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        decay, h, initial = ctx.saved_tensors  # type: ignore[attr-defined]
        total = _scan_back(decay, grad)
        before = torch.cat((initial[:, None], h[:, :-1]), dim=1)
        return total * before, total, total[:, 0] * decay[:, 0]
