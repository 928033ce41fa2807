"""RWKV-4's weighted mean over time and its gradient by kernels in CUDA C++ (`cuda_sources/wkv.cu`): segments of time are
gone through at once, each with what those before it left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clso.models.cuda import Kernels, Launch, segment_length

__all__ = ["wkv"]

_KERNELS = Kernels(
    "wkv",
    "n_batch n_steps n_channels n_segments length",
    "rate bonus key value out ends starts grad d_rate d_bonus d_key d_value log_total",
)
_KEPT = "rate", "bonus", "key", "value", "out", "ends"
_THREADS = 32
_LEAST = 32  # steps of a segment


def wkv(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `clso.baselines.rwkv.wkv`, in float32 on CUDA. Differentiable once."""
    inputs = (t.contiguous() for t in (rate, bonus, key, value))
    out: Tensor = _WKV.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _WKV(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out, (n_batch, n_steps, d) = torch.empty_like(key), key.shape
        ends = key.new_empty(n_batch, -(-n_steps // _length(key)), 5, d)
        kept = rate, bonus, key, value, out, ends
        names = ["wkv_ends", "wkv_advance"] if ends.shape[1] > 1 else ["wkv_advance"]
        _start(names, dict(zip(_KEPT, kept, strict=True)))
        ctx.save_for_backward(*kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        arrays = dict(zip(_KEPT, ctx.saved_tensors, strict=True))
        key = arrays["key"]
        n_batch, n_segments, _, d = arrays["ends"].shape
        d_rate, d_bonus = key.new_empty(2, n_batch, n_segments, d).unbind()
        starts = key.new_empty(n_batch, n_segments, 3, d)
        d_key, d_value, log_total = (torch.empty_like(key) for _ in range(3))
        made = {"d_rate": d_rate, "d_bonus": d_bonus, "d_key": d_key, "d_value": d_value}
        given = {"grad": grad.contiguous(), "starts": starts, "log_total": log_total}
        _start(["wkv_unread", "wkv_retreat"], {**arrays, **given, **made})
        return d_rate.sum((0, 1)), d_bonus.sum((0, 1)), d_key, d_value


def _length(key: Tensor) -> int:
    """Steps of a segment."""
    n_batch, n_steps, d = key.shape
    return max(_LEAST, segment_length(n_steps, -(-n_batch * d // _THREADS)))


def _start(names: list[str], arrays: dict[str, Tensor]) -> None:
    key = arrays["key"]
    n_batch, n_segments, _, d = arrays["ends"].shape
    sizes = {
        "n_batch": n_batch, "n_steps": key.shape[1], "n_channels": d,
        "n_segments": n_segments, "length": _length(key),
    }  # fmt: skip
    how = Launch(-(-n_batch * n_segments * d // _THREADS), _THREADS, 0)
    arguments = _KERNELS.arguments(sizes, arrays)
    for name in names:
        _KERNELS.start(name, (), how, arguments, key.device)
