"""Full convolution of arrays of any shapes: with addition, a commutative semiring on zero-padding classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args, overload

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.errors import ConfigError, ShapeError
from clso.ragged.algebra import check_pair, stacked
from clso.ragged.stack import Ragged

__all__ = ["Method", "convolve"]

Method = Literal["auto", "direct", "fft"]
_FFT_COST = 14.0  # products that take as long as one element of a transform, by its logarithm (measured on a CPU)


@overload
def convolve(a: Tensor, b: Tensor, method: Method = "auto") -> Tensor: ...
@overload
def convolve(a: Ragged, b: Ragged, method: Method = "auto") -> Ragged: ...
def convolve(a: Tensor | Ragged, b: Tensor | Ragged, method: Method = "auto") -> Tensor | Ragged:
    """sum_j a[j] b[i - j] over all axes: lengths n and m give n + m - 1, and none if one of them is empty.

    Two tensors of one rank, type and device, or two stacks item by item. "direct" multiplies every pair, exactly on
    integers; "fft" is `torch.fft`, for floating point; "auto" takes the one that should be faster.

    Raises `ConfigError` for an unknown method, `ShapeError` for operands that do not go together, or integers with "fft".
    """
    if method not in get_args(Method):
        raise ConfigError(f"method is one of {', '.join(get_args(Method))}", got=method)
    return stacked(partial(_convolve, method=method), a, b)


def _convolve(a: Tensor, b: Tensor, method: Method) -> Tensor:
    check_pair(a, b)
    exact = not (a.is_floating_point() or a.is_complex())
    if method == "fft" and exact:
        raise ShapeError(
            "the method fft takes floating point", got=a.dtype, remedy="Use direct, or convert."
        )
    if a.dim() == 0:
        return a * b
    shape = [n + m - 1 if n and m else 0 for n, m in zip(a.shape, b.shape, strict=True)]
    if 0 in shape:
        return (a.sum() * b.sum()).expand(1).new_zeros(shape)
    if method == "auto":
        method = "direct" if exact or _direct_is_faster(a, b, shape) else "fft"
    return _fft(a, b, shape) if method == "fft" else _direct(a, b)


def _direct_is_faster(a: Tensor, b: Tensor, shape: Sequence[int]) -> bool:
    size = math.prod(shape)
    return min(a.numel(), b.numel()) <= _FFT_COST * math.log2(size + 1)


def _direct(a: Tensor, b: Tensor) -> Tensor:
    """Every window of the padded larger operand, times the reversed smaller one."""
    if a.numel() < b.numel():
        a, b = b, a
    axes = tuple(range(a.dim()))
    windows = F.pad(a, [m - 1 for m in reversed(b.shape) for _ in (0, 1)])
    for axis, m in enumerate(b.shape):
        windows = windows.unfold(axis, m, 1)  # a view; the windows' axes come last
    out: Tensor = torch.tensordot(
        windows, b.flip(axes), dims=([axis + a.dim() for axis in axes], axes)
    )
    return out


def _fft(a: Tensor, b: Tensor, shape: Sequence[int]) -> Tensor:
    axes, work = tuple(range(a.dim())), a.dtype
    if work in (torch.float16, torch.bfloat16):
        work = torch.float32
    a_work, b_work = a.to(work), b.to(work)
    sizes = [_fast_length(n) for n in shape]
    if work.is_complex:
        full = torch.fft.ifftn(
            torch.fft.fftn(a_work, sizes, axes) * torch.fft.fftn(b_work, sizes, axes), sizes, axes
        )
    else:
        product = torch.fft.rfftn(a_work, sizes, axes) * torch.fft.rfftn(b_work, sizes, axes)
        full = torch.fft.irfftn(product, sizes, axes)
    out: Tensor = full[tuple(slice(n) for n in shape)].to(a.dtype)
    return out


def _fast_length(n: int) -> int:
    """The least number of at least `n` whose prime factors are 2, 3 and 5."""
    best = 1 << (n - 1).bit_length()
    fives = 1
    while fives < best:
        threes = fives
        while threes < best:
            twos = threes << max(0, (-(-n // threes) - 1).bit_length())
            best = min(best, twos) if twos >= n else best
            threes *= 3
        fives *= 5
    return best
