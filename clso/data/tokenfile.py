"""Token files: packed ids on disk, written atomically, checked against their hash, read by memory mapping."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

__all__ = ["FileCheck", "atomic_file", "check_file", "map_tokens", "write_bytes", "write_tokens"]


@dataclass(frozen=True)
class FileCheck:
    """Size and SHA-256 (hex) of a file as it was written."""

    n_bytes: int
    sha256: str


@contextmanager
def atomic_file(path: Path) -> Iterator[BinaryIO]:
    """A binary stream that becomes `path` when the block ends, and nothing if it raises.

    The temporary name is unique, so several processes may write the same file at once: the last one wins.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            yield stream
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


def write_bytes(path: Path, data: bytes) -> FileCheck:
    """Write `data` to `path` atomically."""
    with atomic_file(path) as stream:
        stream.write(data)
    return FileCheck(len(data), hashlib.sha256(data).hexdigest())


def write_tokens(
    path: Path, batches: Iterable[npt.NDArray[np.unsignedinteger]], dtype: np.dtype[np.unsignedinteger]
) -> FileCheck:
    """Write 1-D batches of ids one after the other as raw `dtype`; memory is that of one batch."""
    digest = hashlib.sha256()
    n_bytes = 0
    with atomic_file(path) as stream:
        for batch in batches:
            data = batch.astype(dtype, copy=False).tobytes()
            digest.update(data)
            n_bytes += len(data)
            stream.write(data)
    return FileCheck(n_bytes, digest.hexdigest())


def check_file(path: Path) -> FileCheck | None:
    """Size and hash of the file at `path`, or None if it cannot be read."""
    try:
        with path.open("rb") as stream:
            digest = hashlib.sha256()
            n_bytes = 0
            while data := stream.read(1 << 20):
                digest.update(data)
                n_bytes += len(data)
    except OSError:
        return None
    return FileCheck(n_bytes, digest.hexdigest())


def map_tokens(path: Path, dtype: np.dtype[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    """The ids at `path`, 1-D, memory-mapped read-only."""
    return np.memmap(path, dtype=dtype, mode="r")
