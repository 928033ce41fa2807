"""Reading files that may be anything: pipes, devices, damaged or hostile archives, more than memory
holds, no text.

Only regular files are opened, no more is held than a stated limit, and every refusal is one line.
"""

from __future__ import annotations

import codecs
import gzip
import os
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from clso.errors import DataError

__all__ = ["MAX_TEXT_BYTES", "Decoded", "decode", "open_regular", "read_file", "too_large"]

MAX_TEXT_BYTES = 1 << 30
"""The largest text: it is held in memory while it is cut into documents."""
MAX_UNDECODABLE = 0.01  # share of characters; above it a file counts as not UTF-8

_CHUNK = 1 << 20
_READ_ONLY = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)

# UTF-32's little-endian mark begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_file(path: Path, limit: int | None = None) -> bytes:
    """The bytes of a regular file; those of a `.gz` unpacked.

    A `.gz` that could exceed the limit is unpacked once only to be counted, so that memory stays
    below the limit.

    Raises:
        DataError: not a regular file, unreadable, damaged gzip data, or more than `limit` bytes.
    """
    try:
        with open_regular(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if path.suffix != ".gz":
                if limit is not None and size > limit:
                    raise too_large(path, limit)
                return _read(stream, path, limit)
            # Deflate makes at most 1,032 bytes of one.
            if limit is not None and size * 1032 > limit:
                with gzip.open(stream) as unpacked:
                    _count(unpacked, path, limit)
                stream.seek(0)
            with gzip.open(stream) as unpacked:
                return _read(unpacked, path, limit)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError(
            "a .gz file must hold whole gzip data", got=str(path), remedy=f"It is not ({error})"
        ) from error
    except OSError as error:
        raise DataError(
            "the file cannot be read", got=str(path), remedy=error.strerror or str(error)
        ) from error


def too_large(path: Path, limit: int) -> DataError:
    """The refusal of a text beyond `limit` bytes."""
    return DataError(
        f"a text has at most {MAX_TEXT_BYTES:,} bytes, unpacked",
        problem=f"{path} has more than {limit:,}",
        remedy="Name a part of it",
    )


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file, without waiting for a pipe's writer; what is open is looked at, not what
    the name meant.

    Raises:
        DataError: a pipe, a device or a folder.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, _READ_ONLY)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DataError("a text is a regular file, no pipe, device or folder", got=str(path))
    return os.fdopen(descriptor, "rb")


def _read(stream: IO[bytes] | gzip.GzipFile, path: Path, limit: int | None) -> bytes:
    # Never trusts a stated size: special files state 0 and go on, and others grow while they are
    # read.
    chunks = []
    n_bytes = 0
    while chunk := stream.read(_CHUNK):
        n_bytes += len(chunk)
        if limit is not None and n_bytes > limit:
            raise too_large(path, limit)
        chunks.append(chunk)
    return b"".join(chunks)


def _count(stream: IO[bytes] | gzip.GzipFile, path: Path, limit: int) -> None:
    n_bytes = 0
    while chunk := stream.read(_CHUNK):
        n_bytes += len(chunk)
        if n_bytes > limit:
            raise too_large(path, limit)


@dataclass(frozen=True)
class Decoded:
    """Valid UTF-8 without a byte order mark, or why the bytes are no text.

    Attributes:
        n_replaced: undecodable places that became U+FFFD.
        refused: the reason if there is no text, else "".
    """

    data: bytes = b""
    n_replaced: int = 0
    refused: str = ""


def decode(raw: bytes) -> Decoded:
    """Bytes as text: UTF-8, or UTF-16 or UTF-32 with a byte order mark."""
    for mark, name in _MARKS:
        if raw.startswith(mark):
            try:
                data = raw.decode(name).encode()
            except UnicodeError:  # a lone surrogate, too
                return Decoded(refused=f"no valid {name.upper()}")
            return Decoded(refused="binary (NUL characters)") if b"\0" in data else Decoded(data)
    if b"\0" in raw:
        return Decoded(refused="binary (NUL bytes), or UTF-16 without a byte order mark")
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if _is_utf8(raw):
        return Decoded(raw)
    text = raw.decode("utf-8", errors="replace")
    n_replaced = text.count("\ufffd")
    if n_replaced > MAX_UNDECODABLE * len(text):
        return Decoded(refused="not UTF-8")
    return Decoded(text.encode(), n_replaced)


def _is_utf8(raw: bytes) -> bool:
    """Whether `raw` decodes, looked at piece by piece so that the decoded text is never held
    whole."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    step = 1 << 24
    try:
        for start in range(0, len(raw), step):
            decoder.decode(raw[start : start + step])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True
