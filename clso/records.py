"""The run folder: what a run leaves on disk, written so that a kill at any moment loses at most one generation.

    config.toml      the settings
    manifest.json    versions, devices, plugin distributions, corpus and seeds
    records.jsonl    one JSON object a line: evaluations and generations, append-only
    checkpoint.json  the state after the last whole generation, replaced atomically
    best/            the winner as a model folder
    result.json      the outcome; there only when the run is finished

JSON and safetensors only: nothing in a run folder is ever unpickled or executed.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.errors import RunFolderError

__all__ = ["FORMAT", "RunFolder"]

FORMAT = 1


class RunFolder:
    """One run's folder, locked by the process that writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._n_bytes = 0  # of records.jsonl, up to the last whole generation

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """Make a new folder. Raises `RunFolderError` where it holds anything already."""
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise RunFolderError(
                "a new run needs a new folder",
                got=str(path),
                remedy=f"Continue that run with `clso resume {path}`, or choose another --out.",
            )
        path.mkdir(parents=True, exist_ok=True)
        run = cls(path)
        run.lock()
        run.write_text("config.toml", config.to_toml())
        (path / "records.jsonl").touch()
        return run

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder, for reading. Raises `RunFolderError` where there is no run."""
        if not (path / "config.toml").is_file():
            raise RunFolderError("a run folder holds config.toml", got=str(path), remedy="Check the path.")
        return cls(path)

    def lock(self) -> None:
        """Refuse a second writer; the lock ends with the process, however that ends."""
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            self._lock = None
            raise RunFolderError(
                "one process at a time writes to a run folder",
                got=str(self.path),
                remedy="Wait for the other run.",
            ) from error

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @property
    def config(self) -> RunConfig:
        return RunConfig.from_toml(self.path / "config.toml")

    @property
    def finished(self) -> bool:
        return (self.path / "result.json").is_file()

    def write_text(self, name: str, text: str) -> None:
        """Replace a file atomically: a reader, or a resumed run, sees the old text or the new one."""
        target = self.path / name
        temporary = target.with_name(f".{name}.tmp")
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, target)

    def write_json(self, name: str, value: Any, *, indent: int | None = 2) -> None:
        # NaN is no JSON; an unmeasured number is None.
        self.write_text(name, json.dumps(value, indent=indent, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises `RunFolderError` where the file is missing, damaged, or no JSON object."""
        try:
            value = json.loads((self.path / name).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise RunFolderError(
                f"the run has {name}", got=str(self.path), remedy="Let the run finish first."
            ) from error
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / name} is whole", got=str(error)) from error
        if not isinstance(value, dict):
            raise RunFolderError(f"{self.path / name} holds a JSON object", got=type(value).__name__)
        return value

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows to records.jsonl with one write."""
        data = "".join(json.dumps(row, allow_nan=False, separators=(",", ":")) + "\n" for row in rows).encode()
        with open(self.path / "records.jsonl", "ab", buffering=0) as file:
            file.write(data)
        self._n_bytes += len(data)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Store the state after a whole generation, with the length of the record that belongs to it."""
        self.write_json("checkpoint.json", {"format": FORMAT, "record_bytes": self._n_bytes, **state}, indent=None)

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None if the run was stopped before its first. Cuts off the record behind it.

        Raises `RunFolderError` for a damaged checkpoint, one of another format, or a record that is shorter than it.
        """
        record = self.path / "records.jsonl"
        if not (self.path / "checkpoint.json").exists():
            record.write_bytes(b"")
            return None
        state = self.read_json("checkpoint.json")
        size = record.stat().st_size if record.exists() else 0
        if state.get("format") != FORMAT or not isinstance(state.get("record_bytes"), int):
            raise RunFolderError(
                f"a checkpoint has format {FORMAT}",
                got=state.get("format"),
                remedy="Resume with the version of CLSO that wrote it (manifest.json names it), or start anew.",
            )
        if size < state["record_bytes"]:
            raise RunFolderError(
                f"records.jsonl holds the {state['record_bytes']} bytes that its checkpoint counts",
                got=size,
                remedy="The record was cut or replaced; start a new run.",
            )
        os.truncate(record, state["record_bytes"])
        self._n_bytes = state["record_bytes"]
        return state

    def records(self) -> Iterator[dict[str, Any]]:
        """The rows of records.jsonl; a last line without its newline (a kill in mid-write) is left out."""
        try:
            with open(self.path / "records.jsonl", encoding="utf-8") as file:
                for number, line in enumerate(file, 1):
                    if not line.endswith("\n"):
                        return
                    row = json.loads(line)
                    if not isinstance(row, dict):
                        raise ValueError(f"line {number} is no JSON object")
                    yield row
        except (OSError, ValueError) as error:
            raise RunFolderError(f"{self.path / 'records.jsonl'} is whole", got=str(error)) from error
