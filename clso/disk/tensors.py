"""Named tensors in a file (safetensors): written whole, with the mode of the user's umask, and if
wanted with a checksum.

A flipped bit in a file of counts or weights still gives tensors. The checksum covers names, types,
shapes and values."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from clso.disk.files import atomic_file, open_regular

__all__ = ["load_checked", "load_tensors", "write_checked", "write_tensors"]

_DIGEST = "sha256"


def write_tensors(
    tensors: Mapping[str, torch.Tensor], path: Path, metadata: Mapping[str, str] | None = None
) -> None:
    """Write atomically, with one key of metadata at most: safetensors writes several in any order.

    The operating system's refusal (a full disk, say) is the `OSError` that it is."""
    try:
        with atomic_file(path) as temporary:
            save_file(dict(tensors), temporary, metadata=dict(metadata or {"format": "pt"}))
    except SafetensorError as error:
        code = re.search(r"os error (\d+)", str(error))
        if code is None:
            raise
        number = int(code.group(1))
        raise OSError(number, os.strerror(number), str(path)) from error


def load_tensors(path: Path, *, device: str = "cpu") -> dict[str, torch.Tensor]:
    """All tensors of a regular file. Raises `OSError` for anything else, which would be waited for
    without end, and `SafetensorError`."""
    open_regular(path).close()
    return load_file(path, device=device)


def write_checked(tensors: Mapping[str, torch.Tensor], path: Path) -> None:
    """Write tensors of a CPU with their checksum. Raises `OSError`."""
    write_tensors(tensors, path, {_DIGEST: _digest(tensors)})


def load_checked(path: Path) -> dict[str, torch.Tensor]:
    """What `write_checked` wrote. Raises `OSError` if it cannot be read, `ValueError` if it is
    anything else."""
    open_regular(path).close()
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            expected = (file.metadata() or {}).get(_DIGEST)
        is_whole = _digest(tensors) == expected
    except (SafetensorError, ValueError, TypeError, RuntimeError, KeyError, MemoryError) as error:
        raise ValueError(f"{type(error).__name__}: {error}") from error
    if not is_whole:
        raise ValueError("other bytes than were written")
    return tensors


def _digest(tensors: Mapping[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        value = tensors[name]
        digest.update(f"{name} {value.dtype} {tuple(value.shape)}\0".encode())
        digest.update(value.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
