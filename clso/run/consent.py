"""Which plugin files this user has agreed to run.

A run folder names its search space and surrogate, and may name a file of its own. Whoever continues
a folder that came from others would run that file. So a user's own runs record the files that they
use, by path and SHA-256, outside all run folders (`$XDG_STATE_HOME/clso/plugin-files`, by default
in ~/.local/state), and `resume` runs no others unasked."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from clso.disk.files import read_regular
from clso.errors import RunFolderError

__all__ = ["remember", "require_agreed"]


def remember(path: Path, sha256: str) -> None:
    """From now on this file, as it is, runs unasked. Without a place to record that in it will be
    asked about."""
    with suppress(OSError, RuntimeError):  # RuntimeError: no home folder is known
        record = _record()
        if (str(path), sha256) in _agreed(record):
            return
        record.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(
            record, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK, 0o600
        )
        with open(descriptor, "ab", buffering=0) as file:
            file.write(json.dumps({"path": str(path), "sha256": sha256}).encode() + b"\n")


def require_agreed(path: Path, sha256: str) -> None:
    """Raises `RunFolderError` unless a run of this user's recorded the file at `path`, with these
    bytes."""
    try:
        agreed = _agreed(_record())
    except RuntimeError:
        agreed = set()
    if (str(path), sha256) not in agreed:
        raise RunFolderError(
            "code that a run folder names is run if a run of yours has recorded it, or if you agree",
            problem=f"{path} (SHA-256 {sha256}) is not recorded",
            remedy="Read that file, then repeat the command with --trust.",
        )


def _record() -> Path:
    return (
        Path(os.environ.get("XDG_STATE_HOME") or "~/.local/state").expanduser()
        / "clso"
        / "plugin-files"
    )


def _agreed(record: Path) -> set[tuple[str, str]]:
    found = set()
    with suppress(OSError):
        for line in read_regular(record).splitlines():
            with suppress(ValueError, KeyError, TypeError):
                row = json.loads(line)
                found.add((row["path"], row["sha256"]))
    return found
