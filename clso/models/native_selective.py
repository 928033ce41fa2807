"""The selective scan and its gradient in C (`c_sources/scan.c`)."""

from __future__ import annotations

import torch
from torch import Tensor

from clso.models.native import Call

__all__ = ["advance", "retreat"]

_SEGMENT = 64  # tokens whose states the backward pass holds at once
_CALL = Call(
    "scan",
    "n_batch n_tokens e n segment",
    "x step a b c starts out grad d_x d_step d_b d_c d_a",
)


def advance(x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
    """`clso.models.selective.selective_scan` of contiguous float32 tensors on a CPU, and the states
    that each segment starts from."""
    segments = -(-x.shape[1] // _SEGMENT)
    starts, out = x.new_empty(len(x), segments, *a.shape), torch.empty_like(x)
    arrays = {"x": x, "step": step, "a": a, "b": b, "c": c, "starts": starts}
    _CALL("selective_scan", _sizes(x, a), {**arrays, "out": out})
    return out, starts


def retreat(
    x: Tensor, step: Tensor, a: Tensor, b: Tensor, c: Tensor, starts: Tensor, grad: Tensor
) -> tuple[Tensor, ...]:
    """The gradients of x, step, a, b and c."""
    found = {f"d_{name}": torch.zeros_like(t) for name, t in zip("xbc", (x, b, c), strict=True)}
    found |= {"d_step": torch.zeros_like(x), "d_a": x.new_zeros(len(x), *a.shape)}
    arrays = {"x": x, "step": step, "a": a, "b": b, "c": c, "starts": starts}
    _CALL("selective_scan_back", _sizes(x, a), {**arrays, **found, "grad": grad})
    by_a = found["d_a"].sum(0)
    return found["d_x"], found["d_step"], by_a, found["d_b"], found["d_c"]


def _sizes(x: Tensor, a: Tensor) -> dict[str, int]:
    n_batch, n_tokens, e = x.shape
    sizes = {"n_batch": n_batch, "n_tokens": n_tokens, "e": e, "n": a.shape[1]}
    return {**sizes, "segment": _SEGMENT}
