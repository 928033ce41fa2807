"""Sums of values by place, the same on every call on any device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["run_sums", "sums"]

_UNIT = 2.0**-32


def sums(place: Tensor, values: Tensor, n: int) -> Tensor:
    """Sums (n,) float64 of `values` by `place`, each sum below 2^31. No more is asked of a GPU than to add.

    A GPU adds in any order, which changes the last bits of floats. So it adds whole multiples of 2^-32, for which no order
    matters. (`bincount` would also wait for the GPU twice.) What many values share is added one value after the other.
    """
    if not values.is_cuda:
        return torch.bincount(place, weights=values.double(), minlength=n)
    if not values.is_floating_point():
        return values.new_zeros(n, dtype=torch.long).index_add_(0, place, values.long()).double()
    whole = _whole(values)
    return whole.new_zeros(n).index_add_(0, place, whole).double().mul_(_UNIT)


def run_sums(values: Tensor, ends: Tensor) -> Tensor:
    """Sums (..., n) float64 of runs of `values` (..., e), which lie one after the other and end before `ends` (n,).

    On a GPU what `sums` gives, to the last bit, however much there is in one run: what is whole can be taken from what all
    runs so far come to.
    """
    so_far = torch.cumsum(_whole(values), -1)
    at_ends = torch.nn.functional.pad(so_far, (1, 0))[..., ends]
    return (
        torch.diff(at_ends, dim=-1, prepend=torch.zeros_like(at_ends[..., :1])).double().mul_(_UNIT)
    )


def _whole(values: Tensor) -> Tensor:
    """In multiples of 2^-32, int64."""
    return (values.double() / _UNIT).round_().long()
