"""The reads and writes of a Turing memory and their gradient by kernels in CUDA C++ (`cuda_sources/turing.cu`): a block
goes through the chunks of a sequence with the memory in registers."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.cuda import Kernels, Launch

__all__ = ["fits", "read_and_write"]

_KERNELS = Kernels(
    "turing",
    "n_batch n_chunks",
    "heads initial commands over_time scale score read reading writing "
    "d_read d_reading d_writing by_memory by_score d_heads d_initial",
)
_BY_CHUNK, _WARP = 256, 32  # threads of a block that has one chunk, and of a warp
_MULTIPLE = 16  # dimensions are a multiple of it
_STAGES = 3  # chunks whose commands are in shared memory
_MOST = 32_768  # numbers of a memory times tokens of a chunk, which the backward pass holds at once


def fits(d_model: int, n_slots: int, chunk: int) -> bool:
    """Whether the kernels take these sizes."""
    numbers = _up(d_model) * _up(n_slots)
    small = d_model <= 128 and n_slots <= 32 and chunk <= 32
    return small and numbers * chunk <= _MOST


def read_and_write(heads: Tensor, initial: Tensor, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
    """What tokens read (B, T, d), and the read and write addresses (B, T, S).

    `heads` (B, T, 4 d + 2): a read key, a write key, erase, add, two strengths, as
    `TuringMemory.heads` gives them; `initial` (S, d); `chunk` divides T. In float32 on CUDA.
    Differentiable once."""
    d = initial.shape[1]
    if more := -d % _MULTIPLE:  # dimensions that nothing is in
        parts = heads[..., : 4 * d].reshape(*heads.shape[:-1], 4, d)
        heads = torch.cat((F.pad(parts, (0, more)).flatten(-2), heads[..., 4 * d :]), dim=-1)
        initial = F.pad(initial, (0, more))
    read, reading, writing = _Memory.apply(  # type: ignore[no-untyped-call]
        heads.contiguous(), initial.contiguous(), chunk
    )
    return read[..., :d], reading, writing


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, heads: Tensor, initial: Tensor, chunk: int
    ) -> tuple[Tensor, Tensor, Tensor]:
        n_batch, n_tokens, _ = heads.shape
        n_slots, d = initial.shape
        n_chunks = n_tokens // chunk
        made = {
            "commands": heads.new_empty(n_batch, n_chunks, 3, chunk, d),
            "over_time": heads.new_empty(n_batch, n_chunks, n_slots, d),
            "scale": heads.new_empty(n_batch, n_chunks, n_slots),
            "score": heads.new_empty(n_batch, n_tokens, n_slots),
            "reading": heads.new_empty(n_batch, n_tokens, n_slots),
            "writing": heads.new_empty(n_batch, n_tokens, n_slots),
        }
        read = heads.new_empty(n_batch, n_tokens, d)
        start = _Start({"heads": heads, "initial": initial, **made, "read": read})
        start("turing_prepare")
        start("turing_advance")
        start("turing_read")
        ctx.save_for_backward(heads, initial, *made.values())
        ctx.names = "heads", "initial", *made
        ctx.set_materialize_grads(False)
        return read, made["reading"], made["writing"]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor, Tensor, None]:
        arrays = dict(zip(ctx.names, ctx.saved_tensors, strict=True))
        heads, initial, over_time, score = (
            arrays[name] for name in ("heads", "initial", "over_time", "score")
        )
        names = "d_read", "d_reading", "d_writing"
        given = {
            name: grad.contiguous()
            for name, grad in zip(names, grads, strict=True)
            if grad is not None
        }
        found = {
            "by_memory": torch.empty_like(over_time),
            "by_score": torch.empty_like(score),
            "d_heads": torch.empty_like(heads),
            "d_initial": initial.new_empty(len(heads), *initial.shape),
        }
        start = _Start({**arrays, **given, **found})
        start("turing_unread")
        start("turing_retreat")
        start("turing_unwrite")
        d_initial = found["d_initial"]
        return found["d_heads"], d_initial.sum(0) if len(heads) > 1 else d_initial[0], None


class _Start:
    """Starts kernels on some arrays."""

    def __init__(self, arrays: dict[str, Tensor]) -> None:
        self.n_batch, self.n_chunks, _, c, d = arrays["commands"].shape
        s = arrays["initial"].shape[0]
        sizes = {"n_batch": self.n_batch, "n_chunks": self.n_chunks}
        self.arguments = _KERNELS.arguments(sizes, arrays)
        self.macros = ("D", str(d)), ("S", str(s)), ("C", str(c))
        self.device = arrays["heads"].device
        self.launches = _launches(d, s, c)

    def __call__(self, name: str) -> None:
        threads, shared = self.launches[name]
        by_turns = name in ("turing_advance", "turing_retreat")
        blocks = self.n_batch if by_turns else self.n_batch * self.n_chunks
        how = Launch(blocks, threads, 4 * shared)
        _KERNELS.start(name, self.macros, how, self.arguments, self.device)


@cache
def _launches(d: int, s: int, c: int) -> dict[str, tuple[int, int]]:
    """Of each kernel, threads and numbers in shared memory: `cuda_sources/turing.cu` says what for."""
    row, by_slot, by_token = d + 4, -(-c // 4) * 4 + 4, -(-c * _up(s) // 4) * 4
    stages = _STAGES * 3 * c * (d if d % _WARP else d + 16)
    slots, warps = max(_up(s), 8), d // 16
    lanes, each = _up(d // 4), 2 if c <= 16 else 1
    at_once = _WARP // lanes * each
    back_slots = -(-s // at_once) * at_once
    back_warps = back_slots // at_once
    parts = warps * -(-c // 16) * 16 * slots
    advance = stages + parts + warps * slots + slots * by_slot
    retreat = stages + 2 * back_slots * by_slot + -(-2 * back_warps * _up(c) // 4) * 4
    unwrite = s * row + s * by_slot + by_token + _BY_CHUNK // d * 2 * c * d
    return {
        "turing_prepare": (_BY_CHUNK, 0),
        "turing_advance": (_WARP * warps, advance),
        "turing_read": (_BY_CHUNK, (s + c) * row + by_token),
        "turing_unread": (_BY_CHUNK, (s + 2 * c) * row + 3 * by_token),
        "turing_retreat": (_WARP * back_warps, retreat),
        "turing_unwrite": (_BY_CHUNK, unwrite),
    }


def _up(n: int) -> int:
    """To a power of two."""
    return 1 << (n - 1).bit_length()
