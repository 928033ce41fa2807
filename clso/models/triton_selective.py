"""The selective scan, and its gradient, as one Triton kernel each: a program goes through time with
one channel's states in registers, a block of steps at a time. Neither decays nor states are written
out, but for the states that each block starts from; backwards they are computed again.

Letters of constants: S states, rounded up to N, STEPS of a block.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["advance", "fits", "retreat"]

_ELEMENTS = 2048  # of a block: steps by states
_MOST_STATES = 64
_SIZES = ["n_tokens", "n_channels", "n_blocks"]
_PARTIAL = 1 << 22  # numbers of b's and c's gradients at once, before channels are added up


def fits(n_states: int) -> bool:
    """Whether the kernels take so many states a channel."""
    return n_states <= _MOST_STATES


def advance(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`clso.models.selective.selective_scan` of contiguous float32 tensors on CUDA, and the states
    that each block starts from."""
    constants = _constants(a)
    n_batch, n_tokens, n_channels = x.shape
    n_blocks = triton.cdiv(n_tokens, constants["STEPS"])
    starts, out = x.new_empty(n_batch, n_blocks, *a.shape), torch.empty_like(x)
    launch: Any = _advance[(n_channels, n_batch)]
    launch(x, step, a, b, c, starts, out, n_tokens, n_channels, n_blocks, **constants)
    return out, starts


def retreat(
    x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, step, a, b and c."""
    constants = _constants(a)
    (n_batch, n_tokens, n_channels), n_blocks = x.shape, starts.shape[1]
    d_x, d_step, d_b, d_c = map(torch.empty_like, (x, step, b, c))
    d_a, carried = x.new_zeros(2, n_batch, *a.shape)
    size = constants["STEPS"] * starts[:, 0].numel()
    blocks = min(max(_PARTIAL // size, 1), n_blocks)
    by_channel = x.new_empty(2, n_batch, n_channels, blocks * constants["STEPS"], a.shape[1])
    launch: Any = _retreat[(n_channels, n_batch)]
    for end in range(n_blocks, 0, -blocks):
        first = max(end - blocks, 0)
        launch(
            x, step, a, b, c, starts, grad, d_x, d_step, d_a, carried, *by_channel,
            n_tokens, n_channels, n_blocks, first, end, blocks, **constants,
        )  # fmt: skip
        here = slice(first * constants["STEPS"], end * constants["STEPS"])
        for found, parts in zip((d_b, d_c), by_channel, strict=True):
            part = found[:, here]
            torch.sum(parts[:, :, : part.shape[1]], 1, out=part)
    return d_x, d_step, d_a.sum(0), d_b, d_c


def _constants(a: Tensor) -> dict[str, int]:
    n_states = a.shape[1]
    n = 1 << (n_states - 1).bit_length()
    return {"S": n_states, "N": n, "STEPS": _ELEMENTS // n, "num_warps": 4}


@triton.jit
def _compose(a, b, later_a, later_b):  # type: ignore[no-untyped-def]
    return a * later_a, later_a * b + later_b


@triton.jit(do_not_specialize=_SIZES)  # type: ignore[untyped-decorator]
def _advance(  # type: ignore[no-untyped-def]
    x, step, a, b, c, starts, out, n_tokens, n_channels, n_blocks,
    S: tl.constexpr, N: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    channel, sequence = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row, n = tl.arange(0, STEPS), tl.arange(0, N)
    rate = tl.load(a + channel * S + n, mask=n < S, other=0.0)[None, :]
    h = tl.zeros((N,), tl.float32)
    for block in range(n_blocks):
        at_start = (sequence * n_blocks + block) * n_channels + channel
        tl.store(starts + at_start * S + n, h, mask=n < S)
        t = block * STEPS + row
        at, inside = sequence * n_tokens + t, t < n_tokens
        states, there = at[:, None] * S + n[None, :], inside[:, None] & (n < S)[None, :]
        # after the last token nothing decays and nothing comes in
        time = tl.load(step + at * n_channels + channel, mask=inside, other=0.0)
        inputs = time * tl.load(x + at * n_channels + channel, mask=inside, other=0.0)
        inputs = inputs[:, None] * tl.load(b + states, mask=there, other=0.0)
        decay, inputs = tl.associative_scan((tl.exp(time[:, None] * rate), inputs), 0, _compose)
        inputs += decay * h[None, :]
        read = tl.sum(inputs * tl.load(c + states, mask=there, other=0.0), 1)
        tl.store(out + at * n_channels + channel, read, mask=inside)
        h = tl.sum(tl.where((row == STEPS - 1)[:, None], inputs, 0.0), 0)


@triton.jit(do_not_specialize=[*_SIZES, "first", "end", "size"])  # type: ignore[untyped-decorator]
def _retreat(  # type: ignore[no-untyped-def]
    x, step, a, b, c, starts, grad, d_x, d_step, d_a, carried, by_b, by_c,
    n_tokens, n_channels, n_blocks, first, end, size,
    S: tl.constexpr, N: tl.constexpr, STEPS: tl.constexpr,
):  # fmt: skip
    channel, sequence = tl.program_id(0), tl.program_id(1).to(tl.int64)
    row, n = tl.arange(0, STEPS), tl.arange(0, N)
    rate = tl.load(a + channel * S + n, mask=n < S, other=0.0)[None, :]
    own = (sequence * n_channels + channel) * S + n
    g = tl.load(carried + own, mask=n < S, other=0.0)
    by_rate = tl.zeros((STEPS, N), tl.float32)
    for back in range(end - first):
        block = end - 1 - back
        at_start = (sequence * n_blocks + block) * n_channels + channel
        h = tl.load(starts + at_start * S + n, mask=n < S, other=0.0)
        t = block * STEPS + row
        at, inside = sequence * n_tokens + t, t < n_tokens
        states, there = at[:, None] * S + n[None, :], inside[:, None] & (n < S)[None, :]
        known = inside & (row > 0)
        one = at * n_channels + channel
        # the states before each step, from the steps before it
        time = tl.load(step + one - n_channels, mask=known, other=0.0)
        inputs = time * tl.load(x + one - n_channels, mask=known, other=0.0)
        inputs = inputs[:, None] * tl.load(b + states - S, mask=there & known[:, None], other=0.0)
        decay, before = tl.associative_scan((tl.exp(time[:, None] * rate), inputs), 0, _compose)
        before += decay * h[None, :]
        # gradients of the states, from those after them
        later = tl.load(step + one + n_channels, mask=t + 1 < n_tokens, other=0.0)
        d_out = tl.load(grad + one, mask=inside, other=0.0)[:, None]
        by_state = d_out * tl.load(c + states, mask=there, other=0.0)
        decay, by_state = tl.associative_scan(
            (tl.exp(later[:, None] * rate), by_state), 0, _compose, reverse=True
        )
        by_state += decay * g[None, :]
        g = tl.sum(tl.where((row == 0)[:, None], by_state, 0.0), 0)
        time = tl.load(step + one, mask=inside, other=0.0)
        value = tl.load(x + one, mask=inside, other=0.0)
        key = tl.load(b + states, mask=there, other=0.0)
        decayed = before * tl.exp(time[:, None] * rate)
        state = decayed + (time * value)[:, None] * key
        by_input = tl.sum(by_state * key, 1)
        by_exponent = by_state * decayed
        by_rate += by_exponent * time[:, None]
        tl.store(d_x + one, time * by_input, mask=inside)
        by_time = value * by_input + tl.sum(by_exponent * rate, 1)
        tl.store(d_step + one, by_time, mask=inside)
        part = ((sequence * n_channels + channel) * size + block - first) * STEPS + row
        part = part[:, None] * S + n[None, :]
        tl.store(by_b + part, by_state * (time * value)[:, None], mask=there)
        tl.store(by_c + part, d_out * state, mask=there)
    tl.store(carried + own, g, mask=n < S)
    by_rate = tl.sum(by_rate, 0) + tl.load(d_a + own, mask=n < S, other=0.0)
    tl.store(d_a + own, by_rate, mask=n < S)
