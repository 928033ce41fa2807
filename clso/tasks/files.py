"""What the loaders share: reading files that may be missing or damaged, bytes as tokens, splits
without duplicates."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from clso.data.reading import open_regular
from clso.errors import ConfigError, DataError
from clso.tasks.base import Examples, Targets, Tokens, row_keys

__all__ = [
    "BYTES",
    "FileOptions",
    "byte_tokens",
    "carve",
    "csv_rows",
    "pad_arrays",
    "read_bytes",
    "read_text",
    "text_keys",
    "text_of",
    "the_folder",
    "without_duplicates",
]

BYTES = ("<pad>", *(repr(bytes([b]))[2:-1] for b in range(256)))
"""The vocabulary of byte-level tasks: token 1 + byte."""


@dataclass(frozen=True)
class FileOptions:
    """Where the published files lie, as they are after unpacking."""

    folder: str = ""
    """The folder with the published files, unpacked."""
    valid_share: float = 0.1
    """Share of train that becomes valid if the publishers give none."""

    def __post_init__(self) -> None:
        if not 0 < self.valid_share < 1:
            raise ConfigError("valid_share lies between 0 and 1", got=self.valid_share)

    def positive(self, name: str) -> None:
        """Raises `ConfigError` if the option `name` is below 1."""
        if getattr(self, name) < 1:
            raise ConfigError(f"{name} is at least 1", got=getattr(self, name))


def the_folder(options: FileOptions, what: str) -> Path:
    """The folder given. Raises `DataError` if there is none; nothing is ever downloaded."""
    path = Path(options.folder)
    if not options.folder or not path.is_dir():
        raise DataError(
            "this task reads files that are not downloaded for you",
            problem=f"{options.folder} is no folder" if options.folder else "no folder was given",
            remedy=f"Set the option folder=PATH to {what}.",
        )
    return path


def read_bytes(path: Path) -> bytes:
    """The file's bytes. Raises `DataError` if it is missing, unreadable, empty or no regular
    file."""
    try:
        with open_regular(path) as stream:
            data = stream.read()
    except OSError as error:
        raise DataError(f"the data set's file {path} cannot be read ({error.strerror})") from error
    if not data:
        raise DataError(
            "a file of the data set is not empty", got=str(path), remedy="Unpack it again."
        )
    return data


def read_text(path: Path) -> str:
    """The file as UTF-8. Raises `DataError` as `read_bytes` does, and for other bytes."""
    return text_of(read_bytes(path), str(path))


def text_of(data: bytes, name: str) -> str:
    """UTF-8 bytes as text. Raises `DataError` naming where they came from."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            "a file of the data set is UTF-8", problem=f"{name} is not, at byte {error.start}"
        ) from error


def csv_rows(text: str, name: str, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    """The rows of a CSV text, each with the number of its last line. Fields may be of any length.

    Raises `DataError` for what is no CSV.
    """
    # The module's limit of 131,072 characters a field guards streams; this text is in memory
    # already.
    before = csv.field_size_limit(max(len(text), 1))
    try:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
        return [(rows.line_num, row) for row in rows]
    except csv.Error as error:
        raise DataError(
            "a file of the data set is CSV",
            problem=f"{name} is not ({error})",
            remedy="Unpack it again.",
        ) from error
    finally:
        csv.field_size_limit(before)


def byte_tokens(data: bytes) -> Tokens:
    """Bytes as tokens 1 to 256."""
    return np.frombuffer(data, np.uint8).astype(np.uint16) + np.uint16(1)


def pad_arrays(rows: Sequence[Tokens]) -> Tokens:
    """Token arrays as one (n, longest), 0 after the end of each."""
    out = np.zeros((len(rows), max(map(len, rows), default=0)), np.uint16)
    for i, row in enumerate(rows):
        out[i, : len(row)] = row
    return out


def carve(
    examples: Examples, share: float, seed: int, groups: Sequence[bytes] | None = None
) -> dict[str, Examples]:
    """Train and valid, cut at random; sequences of one group (by default: of equal tokens) stay
    together."""
    keys = list(groups or row_keys(examples.tokens))
    names = sorted(set(keys))
    if len(names) < 2:
        raise DataError("a training file has at least two different examples", got=len(names))
    picks = np.random.default_rng(seed).permutation(len(names))[: max(1, int(share * len(names)))]
    held_out = {names[i] for i in picks}
    rows = np.array([key in held_out for key in keys])
    return {"train": examples[np.flatnonzero(~rows)], "valid": examples[np.flatnonzero(rows)]}


def text_keys(tokens: Tokens) -> list[bytes]:
    """A digest of each row of byte tokens, whatever its white space and ends of lines."""
    rows = (bytes((row[(row > 0) & (row <= 256)] - 1).astype(np.uint8)) for row in tokens)
    return [hashlib.blake2b(b" ".join(row.split()), digest_size=16).digest() for row in rows]


def without_duplicates(
    splits: Mapping[str, Examples], key: Callable[[Tokens], list[bytes]] = row_keys
) -> dict[str, Examples]:
    """Published splits overlap now and then: what test holds leaves valid and train, and what valid
    holds leaves train.

    Rows of equal `key` count as equal.
    """
    seen: set[bytes] = set()
    out: dict[str, Examples] = {}
    for name in ("test", "valid", "train"):
        keys = key(splits[name].tokens)
        rows: Targets = np.array([i for i, k in enumerate(keys) if k not in seen], np.int64)
        out[name] = splits[name][rows]
        seen.update(keys)
    return out
