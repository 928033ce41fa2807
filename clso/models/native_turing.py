"""The reads and writes of a Turing memory and their gradient in C (`c_sources/turing.c`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clso.models.native import Call

__all__ = ["read_and_write"]

_CALL = Call(
    "turing",
    "n_batch k c s d",
    "keys erase add memory read address d_read d_address d_memory d_keys d_erase d_add",
)


def read_and_write(
    keys: Tensor, erase: Tensor, add: Tensor, memory: Tensor
) -> tuple[Tensor, Tensor]:
    """What K chunks of c tokens read (B, K, c, d), and their addresses (B, K, 2, c, S), to read and
    to write by.

    `keys` (B, K, 2, c, d) to read and to write by, of unit length times strength; `erase`, `add` (B,
    K, c, d); `memory` (B, S, d), as the first chunk finds it. In float32 on a CPU. Differentiable
    once."""
    inputs = (t.contiguous() for t in (keys, erase, add, memory))
    out: tuple[Tensor, Tensor] = _Memory.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _Memory(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, keys: Tensor, erase: Tensor, add: Tensor, memory: Tensor
    ) -> tuple[Tensor, Tensor]:
        n_batch, k, _, c, _ = keys.shape
        n_slots = memory.shape[1]
        over_time = memory.new_empty(n_batch, k + 1, *memory.shape[1:])
        over_time[:, 0] = memory
        read, address = torch.empty_like(add), add.new_empty(n_batch, k, 2, c, n_slots)
        arrays = {"keys": keys, "erase": erase, "add": add, "memory": over_time}
        sizes = _sizes(keys, n_slots)
        _CALL("turing_advance", sizes, {**arrays, "read": read, "address": address})
        ctx.save_for_backward(keys, erase, add, over_time, address)
        return read, address

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, d_read: Tensor, d_address: Tensor) -> tuple[Tensor, ...]:
        keys, erase, add, memory, address = ctx.saved_tensors
        given = {"d_read": d_read.contiguous(), "d_address": d_address.contiguous()}
        found = {
            "d_keys": torch.zeros_like(keys),
            "d_erase": torch.zeros_like(erase),
            "d_add": torch.zeros_like(add),
            "d_memory": torch.zeros_like(memory[:, 0]),
        }
        arrays = {"keys": keys, "erase": erase, "add": add, "memory": memory, "address": address}
        _CALL("turing_retreat", _sizes(keys, memory.shape[2]), {**arrays, **given, **found})
        return tuple(found.values())


def _sizes(keys: Tensor, n_slots: int) -> dict[str, int]:
    n_batch, k, _, c, d = keys.shape
    return {"n_batch": n_batch, "k": k, "c": c, "s": n_slots, "d": d}
