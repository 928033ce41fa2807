"""A record that is written a row at a time, so that a time limit or an error cuts off nothing that was measured."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from clso.disk.files import atomic_file
from clso.errors import ClsoError

__all__ = ["Record"]

_SAME = ("device", "corpus")


class Record:
    """The record on disk. One that is there goes on: rows that it has are not measured again.

    Attributes
    ----------
    rows : the record, by part and name. `left_out` says of each row that is missing why.

    Raises `SystemExit` for a record of another text or another device.
    """

    def __init__(self, path: Path, start: dict[str, Any], minutes: float) -> None:
        self.path = path
        self.rows: dict[str, Any] = {**start, "left_out": []}
        if path.exists():
            before = json.loads(path.read_text())
            mine = json.loads(json.dumps({name: start[name] for name in _SAME}))
            for name in _SAME:
                if before.get(name) != mine[name]:
                    raise SystemExit(f"{path} has another {name}; choose another --out")
            self.rows = {**before, "left_out": []}
        self._end = time.monotonic() + 60 * minutes
        self._write()

    def get(self, part: str, name: str) -> dict[str, Any] | None:
        """A row that was measured."""
        row: dict[str, Any] | None = self.rows.get(part, {}).get(name)
        return row

    def add(
        self, part: str, name: str, measure: Callable[[], dict[str, Any]]
    ) -> dict[str, Any] | None:
        """One row of a part, unless it is there or the time is up; None if it is missing."""
        if self.get(part, name) is None:
            row: dict[str, Any] = {}
            if time.monotonic() > self._end:
                self._leave_out(part, name, "the time was up")
            else:
                try:
                    row = measure()
                except (ClsoError, RuntimeError, OSError) as error:  # torch: out of memory, too
                    self._leave_out(part, name, f"{type(error).__name__}: {error}")
            if row:
                self.rows.setdefault(part, {})[name] = row
                print(json.dumps({"part": part, "row": name, **row}), flush=True)
            self._write()
        return self.get(part, name)

    def _leave_out(self, part: str, name: str, why: str) -> None:
        self.rows["left_out"].append({"part": part, "row": name, "why": why})
        print(f"left out: {part} {name}: {why}", flush=True)

    def _write(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(self.path) as temporary:
            Path(temporary).write_text(json.dumps(self.rows, indent=1) + "\n")
