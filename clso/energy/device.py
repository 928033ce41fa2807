"""Torch-style device names, and waiting for a device without importing torch."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence

from clso.errors import EnergyError

__all__ = ["cuda_indices", "synchronise"]

NAME = re.compile(r"(?P<kind>[a-z]+)(?::(?P<index>\d+))?")


def cuda_indices(devices: Sequence[str]) -> list[int]:
    """Return the CUDA indices among torch-style names; a bare "cuda" is torch's current device,
    else 0.

    Raises:
        EnergyError: a name is not "kind" or "kind:index".
    """
    indices = []
    for device in devices:
        name = NAME.fullmatch(device)
        if name is None:
            raise EnergyError('A device is named like "cpu", "cuda" or "cuda:1"', got=device)
        if name["kind"] == "cuda":
            indices.append(_current() if name["index"] is None else int(name["index"]))
    return indices


def synchronise(indices: Sequence[int]) -> None:
    """Wait until the work queued on CUDA devices `indices` is done.

    Does nothing before torch has started CUDA: there is no work then, and starting it would cost
    the energy of a context."""
    torch = sys.modules.get("torch")
    if indices and torch is not None and torch.cuda.is_initialized():
        for index in indices:
            torch.cuda.synchronize(index)


def _current() -> int:
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        return int(torch.cuda.current_device())
    return 0
