"""`torch.nn.attention.varlen`: one kernel for documents of any lengths, on CUDA in 16-bit types.

The one place that knows the kernel's signature, which has changed: `is_causal` (torch 2.10) became `window_size=(left, 0)`
(torch 2.11), and only the latter has windows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from clso.models.documents import Documents

__all__ = ["operators", "takes", "varlen_attention"]

_WIDEST_HEAD = 256  # of flash attention


@cache
def _kernel() -> tuple[Callable[..., Any], frozenset[str]] | None:
    """The kernel and the names of its parameters; None before torch 2.10."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn, frozenset(inspect.signature(varlen_attn).parameters)


def takes(device: torch.device, dtype: torch.dtype, d_head: int, window: int | None) -> bool:
    """Whether the kernel can be used; `window` None is full attention."""
    if device.type != "cuda" or dtype not in (torch.float16, torch.bfloat16):
        return False
    if d_head % 8 or d_head > _WIDEST_HEAD:
        return False
    if torch.cuda.get_device_capability(device) < (8, 0):
        return False
    found = _kernel()
    return found is not None and bool(
        found[1] & ({"window_size"} if window else {"window_size", "is_causal"})
    )


def operators() -> tuple[Any, Any] | None:
    """What a dispatch mode sees of the kernel: the operator and that of its backward pass; None if there is none."""
    if _kernel() is None:
        return None
    try:
        return torch.ops.torch_attn._varlen_attn, torch.ops.torch_attn._varlen_attn_backward
    except AttributeError:
        return None


def varlen_attention(
    q: Tensor, k: Tensor, v: Tensor, documents: Documents, window: int | None
) -> Tensor:
    """Causal attention of (N, heads, d_head) within documents, to the last `window` keys or all. `takes` holds."""
    found = _kernel()
    if found is None:
        raise RuntimeError("takes() was not asked")
    kernel, parameters = found
    bounds, longest = documents.cumulative, documents.lengths[-1]
    causal: dict[str, Any] = {"is_causal": True}
    if "window_size" in parameters:
        causal = {"window_size": (-1 if window is None else window - 1, 0)}
    out: Tensor = kernel(
        *(x.contiguous() for x in (q, k, v)), bounds, bounds, longest, longest, **causal
    )
    return out
