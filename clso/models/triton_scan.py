"""h_t = a_t h_{t-1} + b_t as one Triton kernel: blocks of time are scanned in registers, one after
the other, by programs that share out the channels."""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["linear_scan"]

_ELEMENTS = 2048  # of a block: steps by channels
_PROGRAMS = 128  # that a launch has at least, as far as the channels go round


@triton.jit
def _compose(a, b, later_a, later_b):  # type: ignore[no-untyped-def]
    return a * later_a, later_a * b + later_b


@triton.jit  # type: ignore[untyped-decorator]
def _kernel(  # type: ignore[no-untyped-def]
    decay, inputs, initial, out, n_steps, n_channels,
    STEPS: tl.constexpr, CHANNELS: tl.constexpr, REVERSE: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(1).to(tl.int64)
    channel = tl.program_id(0) * CHANNELS + tl.arange(0, CHANNELS)
    inside = channel < n_channels
    row = tl.arange(0, STEPS)
    h = tl.load(initial + sequence * n_channels + channel, mask=inside, other=0.0)
    for start in range(0, n_steps, STEPS):
        step = start + row
        t = n_steps - 1 - step if REVERSE else step
        at = (sequence * n_steps + t)[:, None] * n_channels + channel[None, :]
        mask = (step < n_steps)[:, None] & inside[None, :]
        # backwards, what is carried to a step went through the decay of the one after it
        known = mask & (step > 0)[:, None] if REVERSE else mask
        a = tl.load(decay + at + (n_channels if REVERSE else 0), mask=known, other=1.0)
        b = tl.load(inputs + at, mask=mask, other=0.0)
        a, b = tl.associative_scan((a, b), 0, _compose)
        b += a * h[None, :]
        tl.store(out + at, b, mask=mask)
        h = tl.sum(tl.where((row == STEPS - 1)[:, None], b, 0.0), 0)


def linear_scan(decay: Tensor, inputs: Tensor, initial: Tensor, *, reverse: bool) -> Tensor:
    """All h_t = decay_t h_{t-1} + inputs_t along dim 1, (B, T, ...) float32; in reverse h_t =
    decay_{t+1} h_{t+1} + inputs_t. `initial` (B, ...) stands before the first of them."""
    decay, inputs, initial = (x.contiguous() for x in (decay, inputs, initial))
    n_batch, n_steps = inputs.shape[:2]
    n_channels = initial[0].numel()
    out = torch.empty_like(inputs)
    channels = 4
    while channels < 32 and n_batch * n_channels // (2 * channels) >= _PROGRAMS:
        channels *= 2
    launch: Any = _kernel[(triton.cdiv(n_channels, channels), n_batch)]
    launch(
        decay, inputs, initial, out, n_steps, n_channels,
        STEPS=_ELEMENTS // channels, CHANNELS=channels, REVERSE=reverse, num_warps=4,
    )  # fmt: skip
    return out
