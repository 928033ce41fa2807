"""The one argument of compiled code of ours: a structure of sizes and of arrays' addresses."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["Arguments"]


class Arguments:
    """The structure: names of its sizes, integers of type `size`, then of its arrays, in the source's
    order."""

    def __init__(self, size: type[Any], sizes: str, arrays: str, *dtypes: torch.dtype) -> None:
        """Arrays are of some `dtypes`, float32 if none is given."""
        fields = [*((name, size) for name in sizes.split())]
        fields += [(name, ctypes.c_void_p) for name in arrays.split()]
        self._structure = type("Arguments", (ctypes.Structure,), {"_fields_": fields})
        self._dtypes = dtypes or (torch.float32,)

    def __call__(self, sizes: dict[str, int], arrays: Mapping[str, Tensor | int]) -> Any:
        """One, by name. Arrays that are not given are NULL; others lie row by row without gaps, and
        have to outlive its use. An address stands for an array inside another."""
        return self._structure(**sizes, **{name: self._address(t) for name, t in arrays.items()})

    def _address(self, t: Tensor | int) -> int:
        if isinstance(t, int):
            return t
        assert t.is_contiguous()
        assert t.dtype in self._dtypes
        return t.data_ptr()
