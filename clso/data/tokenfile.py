"""Token files: packed ids on disk, written atomically, read by memory mapping."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from clso.disk.files import FileCheck, atomic_file

__all__ = ["map_tokens", "write_tokens"]


def write_tokens(
    path: Path,
    batches: Iterable[npt.NDArray[np.unsignedinteger]],
    dtype: np.dtype[np.unsignedinteger],
) -> FileCheck:
    """Write 1-D batches of ids one after the other as raw `dtype`; memory is that of one batch."""
    digest = hashlib.sha256()
    n_bytes = 0
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        for batch in batches:
            data = batch.astype(dtype, copy=False).tobytes()
            digest.update(data)
            n_bytes += len(data)
            stream.write(data)
    return FileCheck(n_bytes, digest.hexdigest())


def map_tokens(path: Path, dtype: np.dtype[np.unsignedinteger]) -> npt.NDArray[np.unsignedinteger]:
    """The ids at `path`, 1-D, memory-mapped read-only."""
    return np.memmap(path, dtype=dtype, mode="r")
