"""records.jsonl: rows that are only ever appended, of which a checkpoint vouches for the first ones."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clso.disk.files import open_regular, read_regular, sync_file
from clso.errors import RunFolderError

__all__ = ["Record"]

_ROWS = json.JSONEncoder(allow_nan=False, separators=(",", ":"))


class Record:
    """The record at `path`, with the length and the digest of what is in it.

    Rows that no checkpoint knows are a tail: they are not read, and the next row takes their place.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._n_bytes = 0
        self._digest = hashlib.sha256()
        self.has_tail = False

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows, which are on the disk after `sync`."""
        if self.has_tail:
            os.truncate(self.path, self._n_bytes)
            self.has_tail = False
        data = "".join(_ROWS.encode(row) + "\n" for row in rows).encode()
        rest = memoryview(data)
        with open(self.path, "ab", buffering=0) as file:
            while rest:  # a disk that is nearly full takes a part, without an error
                rest = rest[file.write(rest) :]
        self._n_bytes += len(data)
        self._digest.update(data)

    def sync(self) -> None:
        sync_file(self.path)

    def mark(self) -> dict[str, Any]:
        """What a checkpoint notes of the rows so far, for `return_to`."""
        return {"record_bytes": self._n_bytes, "record_sha256": self._digest.hexdigest()}

    def return_to(self, mark: dict[str, Any] | None) -> None:
        """Take what lies behind `mark` (None: everything) for a tail; the file is not changed.

        Raises `RunFolderError` if the record does not begin with what was marked."""
        size = 0 if mark is None else mark["record_bytes"]
        if mark is not None:
            data = read_regular(self.path)[:size] if self.path.exists() else b""
            digest = hashlib.sha256(data)
            if len(data) != size or digest.hexdigest() != mark.get("record_sha256"):
                raise RunFolderError(
                    f"records.jsonl begins with the {size} bytes that its checkpoint was saved with",
                    problem=f"it holds {len(data)} bytes"
                    if len(data) != size
                    else "it holds other bytes",
                    remedy="The record was cut or replaced; start a new run.",
                )
            self._n_bytes, self._digest = size, digest
        self.has_tail = True

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows, without a tail, and without a last line that lacks its newline (a kill in
        mid-write). Raises `RunFolderError` for a damaged one."""
        number = n_bytes = 0
        try:
            with open_regular(self.path) as file:
                for number, line in enumerate(file, 1):  # noqa: B007
                    n_bytes += len(line)
                    if not line.endswith(b"\n") or (self.has_tail and n_bytes > self._n_bytes):
                        return
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError("it is no JSON object")
                    yield row
        except (OSError, ValueError, RecursionError) as error:
            raise RunFolderError(
                f"{self.path} is whole", problem=f"line {number} cannot be read ({error})"
            ) from error
