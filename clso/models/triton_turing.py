"""A Turing memory over time, and its gradient, as one Triton kernel each: a program goes through the
chunks of a sequence with the memory in registers.

Only what the memory itself depends on is done in turn: gradients of what is written are made for all
chunks at once, and so is what is read, in plain torch. Products are sums over a program's registers:
too small for tensor cores to gain anything.

Letters of constants: D dimensions, S slots, rounded up to N, C tokens of a chunk, rounded up to R.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

__all__ = ["fits", "memory_over_time"]

_MOST_CHUNK = 32
_MOST = 32_768  # numbers of a memory times tokens of a chunk, which the backward pass holds at once
_BY_WARP = 128  # of the memory's numbers
_MOST_ERASED = tl.constexpr(1 - 1e-6)
_LEAST_LENGTH = tl.constexpr(1e-12)


def fits(d_model: int, n_slots: int, chunk: int) -> bool:
    """Whether the kernels take these sizes."""
    numbers = d_model * _rounded(n_slots)
    power = d_model >= 16 and d_model & (d_model - 1) == 0
    return power and chunk <= _MOST_CHUNK and numbers * chunk <= _MOST


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
        address = keys.new_empty(n_batch, k, memory.shape[1], c)
        launch: Any = _advance[(n_batch,)]
        launch(keys, erase, add, memory, over_time, address, k, **_constants(over_time, c))
        ctx.save_for_backward(keys, erase, add, over_time, address)
        return over_time

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        keys, erase, add, over_time, address = ctx.saved_tensors
        n_batch, k, c, _ = keys.shape
        constants = _constants(over_time, c)
        after, by_score = torch.empty_like(over_time), torch.empty_like(address)
        d_memory = torch.empty_like(over_time[:, 0])
        launch: Any = _retreat[(n_batch,)]
        launch(
            keys, erase, add, over_time, address, grad.contiguous(), after, by_score, d_memory, k,
            **constants,
        )  # fmt: skip
        d_erase, d_add = torch.empty_like(erase), torch.empty_like(add)
        launch = _by_token[(n_batch * k,)]
        launch(erase, add, over_time, address, after, d_erase, d_add, **constants)
        d_keys = by_score.transpose(2, 3) @ F.normalize(over_time, dim=-1)
        return d_keys, d_erase, d_add, d_memory


def _constants(over_time: Tensor, chunk: int) -> dict[str, int]:
    n_slots, d = over_time.shape[2:]
    n = _rounded(n_slots)
    warps = min(max(n * d // _BY_WARP, 1), 8)
    sizes = {"D": d, "S": n_slots, "C": chunk, "N": n, "R": _rounded(chunk)}
    return {**sizes, "num_warps": warps, "num_stages": 1}


def _rounded(n: int) -> int:
    return 1 << (n - 1).bit_length()


@triton.jit
def _column(tile, column, t):  # type: ignore[no-untyped-def]
    return tl.sum(tl.where((column == t)[None, :], tile, 0.0), 1)[:, None]


@triton.jit
def _one_over_length(memory):  # type: ignore[no-untyped-def]
    return 1 / tl.maximum(tl.sqrt_rn(tl.sum(memory * memory, 1)), _LEAST_LENGTH)[:, None]


@triton.jit
def _written(memory, w, erase, add):  # type: ignore[no-untyped-def]
    """By one token: erase, then add."""
    return memory * (1 - tl.minimum(w * erase, _MOST_ERASED)) + w * add


@triton.jit  # type: ignore[untyped-decorator]
def _places(D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr):  # type: ignore[no-untyped-def]
    """Tokens of a chunk; which slots, and addresses, are there; where a memory's numbers, a token's and
    addresses lie."""
    d, s, token = tl.arange(0, D), tl.arange(0, N), tl.arange(0, R)
    there = (s < S)[:, None]
    at, of_token = s[:, None] * D + d[None, :], 0 * s[:, None] + d[None, :]
    at_address = s[:, None] * C + token[None, :]
    return token, there, there & (token < C)[None, :], at, of_token, at_address


@triton.jit  # type: ignore[untyped-decorator]
def _steps(memory, e, token, erase, add, first, of_token, C: tl.constexpr, D: tl.constexpr):  # type: ignore[no-untyped-def]
    """The memory before each token of a chunk, whose rows begin with the `first`, and the weights by which it is written."""
    steps, written = (), ()
    for t in tl.static_range(C):
        by = (first + t) * D + of_token
        w = _column(e, token, t)
        steps, written = steps + (memory,), written + (w,)  # type: ignore # noqa: RUF005
        memory = _written(memory, w, tl.load(erase + by), tl.load(add + by))
    return steps, written


@triton.jit(do_not_specialize=["n_chunks"])  # type: ignore[untyped-decorator]
def _advance(  # type: ignore[no-untyped-def]
    keys, erase, add, initial, over_time, address, n_chunks,
    D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0).to(tl.int64)
    token, there, addressed, at, of_token, at_address = _places(D, S, C, N, R)
    memory = tl.load(initial + sequence * S * D + at, mask=there, other=0.0)
    for j in range(n_chunks):
        here = sequence * n_chunks + j
        tl.store(over_time + here * S * D + at, memory, mask=there)
        unit = memory * _one_over_length(memory)
        scores = tl.zeros((N, R), tl.float32)
        for t in tl.static_range(C):
            score = tl.sum(unit * tl.load(keys + (here * C + t) * D + of_token), 1)
            scores = tl.where((token == t)[None, :], score[:, None], scores)
        peak = tl.max(tl.where(there, scores, -float("inf")), 0)[None, :]
        e = tl.where(there, tl.exp(scores - peak), 0.0)
        e /= tl.sum(e, 0)[None, :]
        tl.store(address + here * S * C + at_address, e, mask=addressed)
        for t in tl.static_range(C):
            by = (here * C + t) * D + of_token
            w = _column(e, token, t)
            memory = _written(memory, w, tl.load(erase + by), tl.load(add + by))


@triton.jit(do_not_specialize=["n_chunks"])  # type: ignore[untyped-decorator]
def _retreat(  # type: ignore[no-untyped-def]
    keys, erase, add, over_time, address, grad, after, by_scores, d_initial, n_chunks,
    D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    sequence = tl.program_id(0).to(tl.int64)
    token, there, addressed, at, of_token, at_address = _places(D, S, C, N, R)
    g = tl.zeros((N, D), tl.float32)
    for back in range(n_chunks):
        here = sequence * n_chunks + n_chunks - 1 - back
        tl.store(after + here * S * D + at, g, mask=there)
        e = tl.load(address + here * S * C + at_address, mask=addressed, other=0.0)
        found = tl.load(over_time + here * S * D + at, mask=there, other=0.0)
        steps, written = _steps(found, e, token, erase, add, here * C, of_token, C, D)
        by_address = tl.zeros((N, R), tl.float32)
        for t in tl.static_range(C - 1, -1, -1):
            by = (here * C + t) * D + of_token
            erased = tl.load(erase + by)
            gone = written[t] * erased
            by_gone = tl.where(gone > _MOST_ERASED, 0.0, -g * steps[t])
            by_w = tl.sum(by_gone * erased + g * tl.load(add + by), 1)
            by_address = tl.where((token == t)[None, :], by_w[:, None], by_address)
            g *= 1 - tl.minimum(gone, _MOST_ERASED)
        by_score = e * (by_address - tl.sum(by_address * e, 0)[None, :])
        tl.store(by_scores + here * S * C + at_address, by_score, mask=addressed)
        by_unit = tl.zeros((N, D), tl.float32)
        for t in tl.static_range(C):
            key = tl.load(keys + (here * C + t) * D + of_token)
            by_unit += _column(by_score, token, t) * key
        scale = _one_over_length(found)
        unit = found * scale
        g += (by_unit - tl.sum(by_unit * unit, 1)[:, None] * unit) * scale
        g += tl.load(grad + here * S * D + at, mask=there, other=0.0)
    tl.store(d_initial + sequence * S * D + at, g, mask=there)


@triton.jit  # type: ignore[untyped-decorator]
def _by_token(  # type: ignore[no-untyped-def]
    erase, add, over_time, address, after, d_erase, d_add,
    D: tl.constexpr, S: tl.constexpr, C: tl.constexpr, N: tl.constexpr, R: tl.constexpr,
):  # fmt: skip
    here = tl.program_id(0).to(tl.int64)
    d = tl.arange(0, D)
    token, there, addressed, at, of_token, at_address = _places(D, S, C, N, R)
    e = tl.load(address + here * S * C + at_address, mask=addressed, other=0.0)
    memory = tl.load(over_time + here * S * D + at, mask=there, other=0.0)
    g = tl.load(after + here * S * D + at, mask=there, other=0.0)
    steps, written = _steps(memory, e, token, erase, add, here * C, of_token, C, D)
    for t in tl.static_range(C - 1, -1, -1):
        by = (here * C + t) * D
        w = written[t]
        gone = w * tl.load(erase + by + of_token)
        by_gone = tl.where(gone > _MOST_ERASED, 0.0, -g * steps[t])
        tl.store(d_erase + by + d, tl.sum(by_gone * w, 0))
        tl.store(d_add + by + d, tl.sum(g * w, 0))
        g *= 1 - tl.minimum(gone, _MOST_ERASED)
