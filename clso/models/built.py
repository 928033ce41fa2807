"""What a compiler made of a source of ours, kept in the cache (`CLSO_CACHE`) for later processes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from clso.data.cache import cache_root
from clso.disk.files import check_file, read_regular, write_bytes

__all__ = ["built"]

T = TypeVar("T")


def built(name: str, make: Callable[[Path], object], load: Callable[[Path], T]) -> T:
    """`load` of a file that `make` writes, whole or not at all, unless it is there already; `name`
    says all that it was made from. Without a cache that can be used it is made for this process
    alone."""
    try:
        path = _private(cache_root(None) / "native") / name
        if not _is_whole(path):
            make(path)
            write_bytes(_noted(path), _checksum(path), durable=False)
        return load(path)
    except OSError:  # a cache that is read-only, full, or others'
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / name
            make(path)
            return load(path)


def _private(folder: Path) -> Path:
    """The folder, made if need be. Raises `PermissionError` if others can write to it, or own it:
    what lies there is run."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    status = folder.stat()
    if status.st_uid != os.getuid() or status.st_mode & 0o022:
        raise PermissionError(f"{folder} is not this user's alone")
    return folder


def _is_whole(path: Path) -> bool:
    """Whether the file is there as it was made: a flipped bit of code would crash."""
    try:
        return read_regular(_noted(path)) == _checksum(path)
    except OSError:
        return False


def _noted(path: Path) -> Path:
    """Where a file's checksum is written down."""
    return path.with_suffix(".sha256")


def _checksum(path: Path) -> bytes:
    check = check_file(path)
    return b"none" if check is None else check.sha256.encode()
