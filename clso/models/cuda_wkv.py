"""RWKV-4's weighted mean over time and its gradient by kernels in CUDA C++ (`cuda_sources/wkv.cu`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clso.models.cuda import Kernels, Launch

__all__ = ["wkv"]

_KERNELS = Kernels(
    "wkv",
    "n_batch n_steps n_channels",
    "rate bonus key value out grad d_rate d_bonus d_key d_value log_total",
)
_THREADS = 32


def wkv(rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """As `clso.baselines.rwkv.wkv`, in float32 on CUDA. Differentiable once."""
    inputs = (t.contiguous() for t in (rate, bonus, key, value))
    out: Tensor = _WKV.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _WKV(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rate: Tensor, bonus: Tensor, key: Tensor, value: Tensor) -> Tensor:
        out = torch.empty_like(key)
        arrays = {"rate": rate, "bonus": bonus, "key": key, "value": value, "out": out}
        _start("wkv_advance", arrays)
        ctx.save_for_backward(*arrays.values())
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        names = "rate", "bonus", "key", "value", "out"
        arrays = dict(zip(names, ctx.saved_tensors, strict=True))
        key = arrays["key"]
        d_rate, d_bonus = key.new_empty(2, len(key), key.shape[2]).unbind()
        d_key, d_value, log_total = (torch.empty_like(key) for _ in range(3))
        made = {"d_rate": d_rate, "d_bonus": d_bonus, "d_key": d_key, "d_value": d_value}
        _start("wkv_retreat", {**arrays, "grad": grad.contiguous(), **made, "log_total": log_total})
        return d_rate.sum(0), d_bonus.sum(0), d_key, d_value


def _start(name: str, arrays: dict[str, Tensor]) -> None:
    n_batch, n_steps, n_channels = arrays["key"].shape
    sizes = {"n_batch": n_batch, "n_steps": n_steps, "n_channels": n_channels}
    how = Launch(-(-n_batch * n_channels // _THREADS), _THREADS, 0)
    _KERNELS.start(name, (), how, _KERNELS.arguments(sizes, arrays), arrays["key"].device)
