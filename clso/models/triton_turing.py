"""A Turing memory over time, and its gradient, as one Triton kernel each: a program goes through the
chunks of a sequence with the memory in registers.

Only what the memory itself depends on is done here; reading it is a few products for all chunks at
once. Products are three of TF32, with errors near those of float32, and have fewer than 64 rows
(`triton_nsm` says why).

Letters of constants: D dimensions, S slots, rounded up to N, C tokens of a chunk, rounded up to R.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["fits", "memory_over_time"]

_LEAST = 16  # of a side of a matrix product
_MOST = 32  # slots, and tokens of a chunk
_WARPS = 4
_MOST_ERASED = tl.constexpr(1 - 1e-6)
_LEAST_LENGTH = tl.constexpr(1e-12)


def fits(d_model: int, n_slots: int, chunk: int) -> bool:
    """Whether the kernels take these sizes."""
    power = d_model & (d_model - 1) == 0
    return power and _LEAST <= d_model <= 128 and n_slots <= _MOST and chunk <= _MOST


def memory_over_time(keys: Tensor, erase: Tensor, add: Tensor, memory: Tensor) -> Tensor:
    """The memory as each of K chunks finds it, (B, K, S, d).

    `keys` (B, K, c, d) to write by, of unit length times strength; `erase`, `add` (B, K, c, d);
    `memory` (B, S, d), as the first chunk finds it. In float32 on CUDA. Differentiable once."""
    inputs = (t.contiguous() for t in (keys, erase, add, memory))
    out: Tensor = _Memory.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, keys: Tensor, erase: Tensor, add: Tensor, memory: Tensor) -> Tensor:
        n_batch, k, c, _ = keys.shape
        over_time = memory.new_empty(n_batch, k, *memory.shape[1:])
        address = keys.new_empty(n_batch, k, c, memory.shape[1])
        launch: Any = _advance[(n_batch,)]
        launch(keys, erase, add, memory, over_time, address, k, **_sizes(keys, memory))
        ctx.save_for_backward(keys, erase, add, over_time, address)
        return over_time

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        keys, erase, add, over_time, address = ctx.saved_tensors
        n_batch, k, c, _ = keys.shape
        found = [torch.empty_like(t) for t in (keys, erase, add, over_time[:, 0])]
        d_address = torch.empty_like(address)
        steps = keys.new_empty(n_batch, c, *over_time.shape[2:])
        launch: Any = _retreat[(n_batch,)]
        launch(
            keys, erase, add, over_time, address, grad.contiguous(), *found, d_address, steps, k,
            **_sizes(keys, over_time[:, 0]),
        )  # fmt: skip
        return tuple(found)


def _sizes(keys: Tensor, memory: Tensor) -> dict[str, int]:
    (chunk, d), n_slots = keys.shape[2:], memory.shape[1]
    rounded = {"N": _rounded(n_slots), "R": _rounded(chunk)}
    return {"D": d, "S": n_slots, "C": chunk, **rounded, "num_warps": _WARPS, "num_stages": 1}


def _rounded(n: int) -> int:
    return max(_LEAST, triton.next_power_of_2(n))


@triton.jit
def _dot(a, b):  # type: ignore[no-untyped-def]
    return tl.dot(a, b, input_precision="tf32x3")


@triton.jit
def _one_over_length(memory):  # type: ignore[no-untyped-def]
    return 1 / tl.maximum(tl.sqrt_rn(tl.sum(memory * memory, 1)), _LEAST_LENGTH)[:, None]


@triton.jit
def _written(memory, w, erase, add):  # type: ignore[no-untyped-def]
    """By one token: erase, then add."""
    return memory * (1 - tl.minimum(w * erase, _MOST_ERASED)) + w * add


@triton.jit  # type: ignore[untyped-decorator]
def _advance(  # type: ignore[no-untyped-def]
    keys, erase, add, initial, over_time, address, n_chunks,
    D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0).to(tl.int64)
    d, s, row = tl.arange(0, D), tl.arange(0, N), tl.arange(0, R)
    slot, token = s < S, row < C
    at_slot = s[:, None] * D + d[None, :]
    at_token = row[:, None] * D + d[None, :]
    memory = tl.load(initial + sequence * S * D + at_slot, mask=slot[:, None], other=0.0)
    for j in range(n_chunks):
        here = sequence * n_chunks + j
        tl.store(over_time + here * S * D + at_slot, memory, mask=slot[:, None])
        key = tl.load(keys + here * C * D + at_token, mask=token[:, None], other=0.0)
        scores = _dot(key, tl.trans(memory * _one_over_length(memory)))
        scores = tl.where(slot[None, :], scores, -float("inf"))
        e = tl.exp(scores - tl.max(scores, 1)[:, None])
        e /= tl.sum(e, 1)[:, None]
        written = address + here * C * S
        there = token[:, None] & slot[None, :]
        tl.store(written + row[:, None] * S + s[None, :], e, mask=there)
        tl.debug_barrier()  # rows are read by other threads than those that wrote them
        for t in tl.static_range(C):
            w = tl.load(written + t * S + s, mask=slot, other=0.0)[:, None]
            by = (here * C + t) * D + d
            memory = _written(memory, w, tl.load(erase + by)[None, :], tl.load(add + by)[None, :])


@triton.jit  # type: ignore[untyped-decorator]
def _retreat(  # type: ignore[no-untyped-def]
    keys, erase, add, over_time, address, grad,
    d_keys, d_erase, d_add, d_initial, d_address, steps, n_chunks,
    D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0).to(tl.int64)
    d, s, row = tl.arange(0, D), tl.arange(0, N), tl.arange(0, R)
    slot, token = s < S, row < C
    at_slot = s[:, None] * D + d[None, :]
    at_token = row[:, None] * D + d[None, :]
    at_address = row[:, None] * S + s[None, :]
    there = token[:, None] & slot[None, :]
    steps += sequence * C * S * D
    g = tl.zeros((N, D), tl.float32)
    for back in range(n_chunks):
        here = sequence * n_chunks + n_chunks - 1 - back
        written = address + here * C * S
        found = tl.load(over_time + here * S * D + at_slot, mask=slot[:, None], other=0.0)
        memory = found
        for t in tl.static_range(C):
            tl.store(steps + t * S * D + at_slot, memory, mask=slot[:, None])
            w = tl.load(written + t * S + s, mask=slot, other=0.0)[:, None]
            by = (here * C + t) * D + d
            memory = _written(memory, w, tl.load(erase + by)[None, :], tl.load(add + by)[None, :])
        tl.debug_barrier()
        for later in tl.static_range(C):
            t = C - 1 - later
            before = tl.load(steps + t * S * D + at_slot, mask=slot[:, None], other=0.0)
            w = tl.load(written + t * S + s, mask=slot, other=0.0)[:, None]
            by = (here * C + t) * D + d
            erased, added = tl.load(erase + by)[None, :], tl.load(add + by)[None, :]
            gone = w * erased
            by_gone = tl.where(gone > _MOST_ERASED, 0.0, -g * before)
            by_w = tl.sum(by_gone * erased + g * added, 1)
            tl.store(d_address + (here * C + t) * S + s, by_w, mask=slot)
            tl.store(d_erase + by, tl.sum(by_gone * w, 0))
            tl.store(d_add + by, tl.sum(g * w, 0))
            g *= 1 - tl.minimum(gone, _MOST_ERASED)
        tl.debug_barrier()
        e = tl.load(written + at_address, mask=there, other=0.0)
        by_e = tl.load(d_address + here * C * S + at_address, mask=there, other=0.0)
        by_score = e * (by_e - tl.sum(by_e * e, 1)[:, None])
        scale = _one_over_length(found)
        unit = found * scale
        by_key = _dot(by_score, unit)
        tl.store(d_keys + here * C * D + at_token, by_key, mask=token[:, None])
        key = tl.load(keys + here * C * D + at_token, mask=token[:, None], other=0.0)
        by_unit = _dot(tl.trans(by_score), key)
        g += (by_unit - tl.sum(by_unit * unit, 1)[:, None] * unit) * scale
        g += tl.load(grad + here * S * D + at_slot, mask=slot[:, None], other=0.0)
    tl.store(d_initial + sequence * S * D + at_slot, g, mask=slot[:, None])
