"""Which device a run computes on."""

from __future__ import annotations

import importlib.util
import re
from functools import cache

import torch

from clso.errors import DeviceError

__all__ = ["has_triton", "resolve_device"]


def resolve_device(name: str) -> str:
    """`auto`, `cpu`, `cuda` or `cuda:N` as "cpu" or "cuda:N". Raises `DeviceError` for one that is not there."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda:0" if count else "cpu"
    if name == "cpu":
        return name
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise DeviceError("device is auto, cpu, cuda or cuda:N", got=name)
    index = int(match.group(1) or 0)
    if index >= count:
        raise DeviceError(
            f"this machine has {count} CUDA device(s)",
            got=name,
            remedy="Use --device auto, or see `clso doctor`.",
        )
    return f"cuda:{index}"


@cache
def has_triton() -> bool:
    """Whether our own GPU kernels can be compiled."""
    return importlib.util.find_spec("triton") is not None
