"""RWKV-4's weighted mean over time and its gradient by kernels in CUDA C++ (`cuda_sources/wkv.cu`): segments of time are
gone through at once, each with what those before it left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clso.models.cuda import Kernels, Launch

__all__ = ["wkv"]

_KERNELS = Kernels(
    "wkv",
    "n_batch n_steps n_channels n_segments length",
    "rate bonus key value out ends starts grad d_rate d_bonus d_key d_value log_total",
)
_THREADS = 32
_WARPS = 1056  # two for each scheduler of an H200, for which segments are worth going through twice
_LEAST, _MOST_SEGMENTS = 32, 128  # steps of a segment; of whose ends one goes through all


def wkv(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `clso.baselines.rwkv.wkv`, in float32 on CUDA. Differentiable once."""
    inputs = (t.contiguous() for t in (rate, bonus, key, value))
    out: Tensor = _WKV.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _WKV(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(key)
        n_batch, n_segments, d = _segments(key)[0]
        ends = key.new_empty(n_batch, n_segments, 5, d)
        arrays = {
            "rate": rate,
            "bonus": bonus,
            "key": key,
            "value": value,
            "out": out,
            "ends": ends,
        }
        _start(["wkv_ends", "wkv_advance"] if n_segments > 1 else ["wkv_advance"], arrays)
        ctx.save_for_backward(*arrays.values())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        names = "rate", "bonus", "key", "value", "out", "ends"
        arrays = dict(zip(names, ctx.saved_tensors, strict=True))
        key = arrays["key"]
        n_batch, n_segments, d = _segments(key)[0]
        d_rate, d_bonus = key.new_empty(2, n_batch, n_segments, d).unbind()
        starts = key.new_empty(n_batch, n_segments, 3, d)
        d_key, d_value, log_total = (torch.empty_like(key) for _ in range(3))
        made = {"d_rate": d_rate, "d_bonus": d_bonus, "d_key": d_key, "d_value": d_value}
        given = {"grad": grad.contiguous(), "starts": starts, "log_total": log_total}
        _start(["wkv_unread", "wkv_retreat"], {**arrays, **given, **made})
        return d_rate.sum((0, 1)), d_bonus.sum((0, 1)), d_key, d_value


def _segments(key: Tensor) -> tuple[tuple[int, int, int], int]:
    """Batch, segments and channels, and the steps of a segment."""
    n_batch, n_steps, d = key.shape
    warps = -(-n_batch * d // _THREADS)  # of one segment
    length = max(_LEAST, -(-n_steps // max(1, min(_WARPS // warps, _MOST_SEGMENTS))))
    return (n_batch, -(-n_steps // length), d), length


def _start(names: list[str], arrays: dict[str, Tensor]) -> None:
    key = arrays["key"]
    (n_batch, n_segments, d), length = _segments(key)
    sizes = {
        "n_batch": n_batch, "n_steps": key.shape[1], "n_channels": d, "n_segments": n_segments, "length": length,
    }  # fmt: skip
    how = Launch(-(-n_batch * n_segments * d // _THREADS), _THREADS, 0)
    arguments = _KERNELS.arguments(sizes, arrays)
    for name in names:
        _KERNELS.start(name, (), how, arguments, key.device)
