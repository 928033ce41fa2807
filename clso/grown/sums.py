"""Sums of values by place, the same on every call on any device."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["sums"]

_UNIT = 2.0**-32


def sums(place: Tensor, values: Tensor, n: int) -> Tensor:
    """Sums (n,) float64 of `values` by `place`, each sum below 2^31. No more is asked of a GPU than to add.

    A GPU adds in any order, which changes the last bits of floats. So it adds whole multiples of 2^-32, for which no order
    matters. (`bincount` would also wait for the GPU twice.)
    """
    if not values.is_cuda:
        return torch.bincount(place, weights=values.double(), minlength=n)
    if not values.is_floating_point():
        return values.new_zeros(n, dtype=torch.long).index_add_(0, place, values.long()).double()
    whole = (values.double() / _UNIT).round_().long()
    return whole.new_zeros(n).index_add_(0, place, whole).double().mul_(_UNIT)
