"""The run folder: what a run leaves on disk, written so that a kill at any moment loses one
generation, or a tenth of a second of short ones.

    config.toml      the settings
    manifest.json    versions, devices, plugin distributions, corpus and seeds
    records.jsonl    one JSON object a line: evaluations and generations, append-only
    times.jsonl      when generations ended, in seconds of search
    warm.json        what was taken from earlier runs, if there were any to start from
    checkpoint.json  the state after a whole generation, replaced atomically
    best/            the winner as a model folder
    SHA256SUMS       hashes of all of these, once the run is finished
    result.json      the outcome; there only when the run is finished

JSON and safetensors only: nothing in a run folder is ever unpickled or executed.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.disk.checksums import SUMS, is_sealed, require_written, seal
from clso.disk.files import read_regular, write_bytes
from clso.disk.parsing import parse_json
from clso.errors import RunFolderError
from clso.run.earlier import in_todays_words
from clso.run.record import Record
from clso.run.schema import check_manifest, check_result

__all__ = ["FORMAT", "RunFolder"]

FORMAT = 1
_URL = re.compile(r"[a-z][a-z0-9+.-]+:/[^/]")  # "s3://bucket" as a path
_LEFT_BY_A_KILL = re.compile(r"\.lock|\..*\.tmp")  # in a folder whose run never began
_TRIES, _RETRY_S = 10, 0.02  # for the lock of a folder
_BEFORE_THE_FIRST = (
    "config.toml",
    "manifest.json",
    "records.jsonl",
    "times.jsonl",
    "warm.json",
    ".lock",
)
_NAMES = ("config.toml", "manifest.json", "records.jsonl", "checkpoint.json", SUMS, "result.json")


class RunFolder:
    """One run's folder, locked by the process that writes to it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: int | None = None
        self._record = Record(path / "records.jsonl")
        self.on_checkpoint: Callable[[], None] = lambda: None

    @staticmethod
    def require_new(path: Path) -> None:
        """Raises `RunFolderError` if `path` holds anything already, cannot be looked at, or is a
        URL."""
        if _URL.match(str(path)):
            raise RunFolderError(
                "a run folder lies on a file system",
                got=str(path),
                remedy="Use a local --out, and --sync URL for a copy that is kept up to date.",
            )
        try:
            taken = path.exists() and (
                not path.is_dir()
                or any(not _LEFT_BY_A_KILL.fullmatch(p.name) for p in path.iterdir())
            )
        except OSError as error:
            raise RunFolderError(
                f"a run folder can be made ({error.strerror})", got=str(path)
            ) from error
        if taken:
            raise RunFolderError(
                "a new run needs a new folder",
                got=str(path),
                remedy=f"Continue that run with `clso resume {path}`, or choose another --out.",
            )

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """Make a new folder. Raises `RunFolderError` if it holds anything already, or cannot be
        written."""
        cls.require_new(path)
        run = cls(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
            run.lock()
            run.write_text("config.toml", config.to_toml())
            (path / "records.jsonl").touch()
        except OSError as error:
            run.discard()
            raise RunFolderError(
                f"a run folder can be written ({error.strerror})",
                got=str(path),
                remedy="Choose another --out.",
            ) from error
        return run

    def discard(self) -> None:
        """Remove what a run leaves before its first checkpoint, so that the same command can be
        repeated."""
        # Best effort: it runs on the way out of an error, which is the one to be shown.
        with suppress(OSError):
            for name in _BEFORE_THE_FIRST:
                (self.path / name).unlink(missing_ok=True)
            self._clear_half_written()
            self.path.rmdir()
        self.close()

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """An existing run's folder, for reading. Raises `RunFolderError` if there is no run, or no
        regular file."""
        if not os.path.lexists(path / "config.toml"):
            raise RunFolderError(
                "a run folder holds config.toml", got=str(path), remedy="Check the path."
            )
        for name in _NAMES:
            if os.path.lexists(path / name) and not (path / name).is_file():
                raise RunFolderError(
                    f"{name} of a run folder is a regular file", got=str(path / name)
                )
        return cls(path)

    def lock(self) -> None:
        """Refuse a second writer; the lock ends with the process, however that ends."""
        self._lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        # whoever looks at `is_being_written` holds it for some microseconds
        for remaining in reversed(range(_TRIES)):
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if remaining:
                    time.sleep(_RETRY_S)
                    continue
                os.close(self._lock)
                self._lock = None
                raise RunFolderError(
                    "one process at a time writes to a run folder",
                    got=str(self.path),
                    remedy="Wait for the other run.",
                ) from error
        self._clear_half_written()

    def _clear_half_written(self) -> None:
        """Remove what a killed process was writing; the lock says that nobody else is."""
        with suppress(OSError):
            for path in (*self.path.glob(".*.tmp"), *self.path.glob("best/.*.tmp")):
                path.unlink()

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
        """Replace a file atomically: a reader, or a resumed run, sees the old text or the new
        one."""
        write_bytes(self.path / name, text.encode())

    def write_json(self, name: str, value: Any, *, indent: int | None = 2) -> None:
        # NaN is no JSON; an unmeasured number is None.
        self.write_text(name, json.dumps(value, indent=indent, allow_nan=False) + "\n")

    def read_json(self, name: str) -> dict[str, Any]:
        """Raises `RunFolderError` if the file is missing, damaged, or no JSON object."""
        try:
            value = parse_json(read_regular(self.path / name))
        except FileNotFoundError as error:
            raise RunFolderError(
                f"the run has {name}", got=str(self.path), remedy="Let the run finish first."
            ) from error
        except (OSError, ValueError) as error:
            raise RunFolderError(
                f"{self.path / name} is whole", problem=f"it cannot be read ({error})"
            ) from error
        if not isinstance(value, dict):
            raise RunFolderError(
                f"{self.path / name} holds a JSON object", got=type(value).__name__
            )
        return value

    def read_result(self) -> dict[str, Any]:
        """What result.json holds, as the run wrote it (`require_written`) and with the types that
        readers count on."""
        result = self.read_json("result.json")
        if result.get("checksums") == SUMS and not is_sealed(self.path):
            raise RunFolderError(
                f"a finished run has {SUMS}", got=str(self.path), remedy="It was removed; run anew."
            )
        self.require_written("config.toml", "result.json")
        return check_result(result, self.path / "result.json")

    def read_manifest(self) -> dict[str, Any]:
        """What the manifest.json of a finished run holds, likewise."""
        self.require_written("manifest.json")
        return check_manifest(self.read_json("manifest.json"), self.path / "manifest.json")

    def require_written(self, *names: str) -> None:
        """Raises `RunFolderError` naming the file of a finished run that is not what the run
        wrote."""
        require_written(self.path, *names)

    def write_result(self, result: dict[str, Any]) -> dict[str, Any]:
        """Finish: write the hashes of all files, then result.json; return what that holds."""
        result = {**result, "checksums": SUMS}
        data = (json.dumps(result, indent=2, allow_nan=False) + "\n").encode()
        seal(self.path, data)
        write_bytes(self.path / "result.json", data)
        return result

    def append(self, rows: Iterable[dict[str, Any]]) -> None:
        """Add rows to records.jsonl. They are on the disk with the next checkpoint, or the
        result."""
        self._record.append(rows)

    def reopen(self, config: RunConfig) -> None:
        """Take a finished run for an unfinished one, with more generations to come.

        A kill in between leaves an unfinished run, of the old number of generations or the new."""
        for name in ("result.json", SUMS):
            (self.path / name).unlink(missing_ok=True)
        shutil.rmtree(self.path / "best", ignore_errors=True)
        self.write_text("config.toml", config.to_toml())

    @cached_property
    def _config_sha256(self) -> str:
        return _identity(self.config)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Store the state after a whole generation, tied to the settings and to the record so
        far."""
        text = json.dumps(state, allow_nan=False)
        head = {
            "format": FORMAT,
            "config_sha256": self._config_sha256,
            **self._record.mark(),
            "state_sha256": _sha256(text),
        }
        # a power cut must not leave a checkpoint without its record
        self._record.sync()
        self.write_text("checkpoint.json", f'{json.dumps(head)[:-1]}, "state": {text}}}\n')
        self.on_checkpoint()

    def note_time(self, generation: int, time_s: float) -> None:
        """Note at how many seconds of search a generation ended. Apart from the record, which is
        the same for equal seeds."""
        row = json.dumps({"generation": generation, "time_s": round(time_s, 6)})
        with open(self.path / "times.jsonl", "a", encoding="utf-8") as file:
            file.write(row + "\n")

    def times(self) -> dict[int | None, float]:
        """Seconds of search by generation; of one that was measured again the later. What cannot
        be read is left out: nothing depends on it."""
        found: dict[int | None, float] = {}
        with suppress(OSError):
            for line in read_regular(self.path / "times.jsonl").splitlines():
                with suppress(ValueError, KeyError, TypeError):
                    row = parse_json(line)
                    found[int(row["generation"])] = float(row["time_s"])
        return found

    @property
    def is_being_written(self) -> bool:
        """Whether a process of this machine has the folder locked. False after a kill."""
        try:
            fd = os.open(self.path / ".lock", os.O_RDONLY)
        except OSError:
            return False
        try:
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(fd)
        return False

    def heads(self) -> dict[str, bytes]:
        """The small files that a resumed run replaces before its first row, for `put_back`."""
        names = [
            name for name in ("checkpoint.json", "manifest.json") if (self.path / name).exists()
        ]
        return {name: read_regular(self.path / name) for name in names}

    def put_back(self, heads: dict[str, bytes]) -> None:
        """Undo what a resumed run changed, if it has not added a row."""
        if not self._record.has_tail:
            return
        for name in ("checkpoint.json", "manifest.json"):
            if name not in heads:
                (self.path / name).unlink(missing_ok=True)
            elif read_regular(self.path / name) != heads[name]:
                write_bytes(self.path / name, heads[name])

    def load_checkpoint(self) -> dict[str, Any] | None:
        """The last checkpoint, or None if the run was stopped before its first. The next row
        replaces the record behind it.

        Raises `RunFolderError` for a checkpoint that is damaged, of another format or of another
        run, and for a record that is not the one that it was saved with. Nothing is changed."""
        if not (self.path / "checkpoint.json").exists():
            self._record.return_to(None)
            return None
        saved = self.read_json("checkpoint.json")
        if saved.get("format") != FORMAT or not isinstance(saved.get("record_bytes"), int):
            raise RunFolderError(
                f"a checkpoint has format {FORMAT}",
                got=saved.get("format"),
                remedy="Resume with the version of CLSO that wrote it (manifest.json names it), or start anew.",
            )
        state = saved.get("state")
        if not isinstance(state, dict) or _sha256(json.dumps(state)) != saved.get("state_sha256"):
            raise RunFolderError(
                f"{self.path / 'checkpoint.json'} is whole",
                remedy="It was changed; start a new run.",
            )
        # of the settings as this version writes them, or as an earlier one did that wrote the file
        text = read_regular(self.path / "config.toml").decode()
        known = (self._config_sha256, _sha256(self.config.to_toml()), _sha256(text))
        if saved.get("config_sha256") not in known:
            raise RunFolderError(
                "a checkpoint belongs to the config.toml beside it",
                got=str(self.path),
                remedy="One of them was changed or comes from another run: put it back, or start a new run.",
            )
        self._record.return_to(saved)
        return in_todays_words(state)

    def records(self) -> Iterator[dict[str, Any]]:
        """The rows of records.jsonl, after `load_checkpoint` those that it knows. Raises
        `RunFolderError` for a damaged one."""
        return self._record.rows()


def _identity(config: RunConfig) -> str:
    """The hash of all settings but the number of generations; a run may be given more."""
    return _sha256(replace(config, gens=1).to_toml())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
