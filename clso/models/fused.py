"""When a kernel of our own takes the place of plain torch: on CUDA, with Triton, or on a CPU, with a C
compiler (`native.py`), and once it has shown there, on a small random input, that it gives the same."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Iterable

import torch
from torch import Tensor
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from clso.device import has_triton

__all__ = ["TOLERANCE", "difference", "is_possible", "is_trusted", "with_gradients"]

TOLERANCE = 1e-4
"""Largest difference of a kernel's results, as a share of the plain form's largest or of one."""

_trusted: dict[Hashable, bool] = {}


def is_possible(x: Tensor) -> bool:
    """Whether kernels take a tensor like this."""
    watched = is_in_torch_dispatch_mode(include_infra_modes=False)  # by a counter of FLOPs
    return x.is_cuda and x.dtype == torch.float32 and not watched and has_triton()


def is_trusted(kernel: str, of: Hashable, check: Callable[[], float]) -> bool:
    """Whether `check()`, a `difference` from the plain form, is small. It is asked once for each
    kernel and each `of`, which says device and sizes; if it is large, or fails, a warning says so."""
    key = (kernel, of)
    if key not in _trusted:
        try:
            with torch.no_grad():
                found = check()
            reason = "" if found <= TOLERANCE else f"its results differ by {found:.1e}"
        except Exception as error:  # whatever a compiler or a driver may say
            reason = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
        _trusted[key] = not reason
        if reason:
            warnings.warn(
                f"the kernel {kernel} is left out, plain torch is used: {reason}", stacklevel=2
            )
    return _trusted[key]


def difference(found: Iterable[Tensor], expected: Iterable[Tensor]) -> float:
    """The largest one, as a share of what was expected or of one; infinite if not a number."""
    shares = [
        float((a - b).abs().max() / b.abs().max().clamp_min(1))
        for a, b in zip(found, expected, strict=True)
    ]
    return max(shares) if all(map(math.isfinite, shares)) else math.inf


def with_gradients(
    function: Callable[..., Tensor | tuple[Tensor, ...]], inputs: Iterable[Tensor]
) -> list[Tensor]:
    """Results of a function, and the gradients of the inputs under a fixed combination of them."""
    leaves = [x.detach().clone().requires_grad_() for x in inputs]
    with torch.enable_grad():
        out = function(*leaves)
        results = [out] if isinstance(out, Tensor) else list(out)
        combined = sum(((one + 1).square().sum() for one in results), torch.zeros(()))
    return [*(one.detach() for one in results), *torch.autograd.grad(combined, leaves)]
