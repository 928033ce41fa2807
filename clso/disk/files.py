"""Files on disk: written whole or not at all, kept through a power cut, and checked against their
hash when they are read.

Only regular files are opened: a FIFO that lies where a file is expected would otherwise be waited
for without end."""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from clso.errors import RunFolderError

__all__ = [
    "FileCheck",
    "atomic_file",
    "check_file",
    "open_regular",
    "read_regular",
    "sync_file",
    "write_bytes",
    "writing",
]


@dataclass(frozen=True)
class FileCheck:
    """Size and SHA-256 (hex) of a file as it was written."""

    n_bytes: int
    sha256: str


@contextmanager
def writing(rule: str, path: Path, remedy: str = "Choose another --out.") -> Iterator[None]:
    """While the body makes or writes `path`, what the operating system refuses is a `RunFolderError`
    that says why."""
    try:
        yield
    except OSError as error:
        raise RunFolderError(f"{rule} ({error.strerror})", got=str(path), remedy=remedy) from error


def open_regular(path: Path) -> BinaryIO:
    """Open for reading. Raises `OSError` if it cannot be read, or is no regular file (a FIFO, a
    device, a folder)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    return os.fdopen(descriptor, "rb")


def read_regular(path: Path) -> bytes:
    """All of a regular file. Raises `OSError`."""
    with open_regular(path) as stream:
        return stream.read()


def check_file(path: Path) -> FileCheck | None:
    """Size and hash of the file at `path`, or None if it cannot be read."""
    try:
        with open_regular(path) as stream:
            digest = hashlib.sha256()
            n_bytes = 0
            while data := stream.read(1 << 20):
                digest.update(data)
                n_bytes += len(data)
    except OSError:
        return None
    return FileCheck(n_bytes, digest.hexdigest())


def sync_file(path: Path) -> None:
    """Return when a file's bytes, or a folder's entries, are on the disk, so that a power cut
    leaves them there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems cannot
            raise
    finally:
        os.close(descriptor)


@contextmanager
def atomic_file(path: Path, *, durable: bool = True) -> Iterator[Path]:
    """The path of a new, empty file that becomes `path` when the block ends, and nothing if it
    raises.

    The temporary name is unique, so several processes may write the same file at once: the last one
    wins. It has the mode that the user's umask gives to new files, whatever the block replaced it
    with. `durable`: the bytes are on the disk before the name is, so that a power cut leaves the
    old file or the new one."""
    temporary = path.with_name(f".{path.name[:100]}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("xb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
        yield temporary
        if temporary.stat().st_mode != mode:
            temporary.chmod(stat.S_IMODE(mode))
        if durable:
            sync_file(temporary)
        os.replace(temporary, path)
        if durable:
            sync_file(path.parent)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_bytes(path: Path, data: bytes, *, durable: bool = True) -> FileCheck:
    """Write `data` to `path` atomically."""
    with atomic_file(path, durable=durable) as temporary:
        temporary.write_bytes(data)
    return FileCheck(len(data), hashlib.sha256(data).hexdigest())
