"""The selective scan and its gradient in C (`c_sources/scan.c`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from clso.models.native import Call

__all__ = ["selective_scan"]

_SEGMENT = 64  # tokens whose states the backward pass holds at once
_CALL = Call(
    "n_batch n_tokens e n segment",
    "x step a b c starts out grad d_x d_step d_b d_c d_a",
)


def selective_scan(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """As `clso.models.selective.selective_scan`, in float32 on a CPU. Differentiable once."""
    inputs = (t.contiguous() for t in (x, step, a, b, c))
    out: Tensor = _SelectiveScan.apply(*inputs)  # type: ignore[no-untyped-call]
    return out


class _SelectiveScan(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        segments = -(-x.shape[1] // _SEGMENT)
        starts, out = x.new_empty(len(x), segments, *a.shape), torch.empty_like(x)
        arrays = {"x": x, "step": step, "a": a, "b": b, "c": c, "starts": starts}
        _CALL("selective_scan", _sizes(x, a), {**arrays, "out": out})
        ctx.save_for_backward(x, step, a, b, c, starts)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        x, step, a, b, c, starts = ctx.saved_tensors
        found = {f"d_{name}": torch.zeros_like(t) for name, t in zip("xbc", (x, b, c), strict=True)}
        found |= {"d_step": torch.zeros_like(x), "d_a": x.new_zeros(len(x), *a.shape)}
        arrays = {"x": x, "step": step, "a": a, "b": b, "c": c, "starts": starts}
        _CALL("selective_scan_back", _sizes(x, a), {**arrays, **found, "grad": grad.contiguous()})
        by_a = found["d_a"].sum(0)
        return found["d_x"], found["d_step"], by_a, found["d_b"], found["d_c"]


def _sizes(x: Tensor, a: Tensor) -> dict[str, int]:
    n_batch, n_tokens, e = x.shape
    sizes = {"n_batch": n_batch, "n_tokens": n_tokens, "e": e, "n": a.shape[1]}
    return {**sizes, "segment": _SEGMENT}
