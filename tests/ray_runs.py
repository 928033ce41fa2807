"""What the tests of workers share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from waiting import wait_for

from clso.config import RunConfig

TESTS = Path(__file__).parent


def faulty(name: str) -> RunConfig:
    """Settings of a run in a space of faulty.py."""
    space = f"{TESTS / 'faulty.py'}:{name}"
    return RunConfig(space=space, surrogate="none", device="cpu", energy="null", pop=16, gens=6)


class Log:
    """What the spaces in faulty.py wrote."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def pids(self) -> list[int]:
        """Processes that began to measure, the latest first."""
        files = sorted(self.folder.glob("*.begun"), key=lambda p: -p.stat().st_mtime_ns)
        return [int(p.stem) for p in files]

    def first(self, name: str) -> int:
        """The process that was the first to do something (`faulty.once`); 0 before."""
        path = self.folder / name
        return int(path.read_text()) if path.exists() else 0

    def lines(self, what: str) -> Counter[str]:
        """Genomes that were "begun" or "done"."""
        return Counter(
            line for p in self.folder.glob(f"*.{what}") for line in p.read_text().splitlines()
        )


def is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def kill(pid: int) -> None:
    """With a real signal; returns when it has worked."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    wait_for(lambda: is_gone(pid), f"the end of {pid}")


def start(arguments: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """`clso ARGUMENTS` in a process group of its own, as a terminal starts it."""
    command = [sys.executable, "-m", "clso", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload]


def outcome(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The record, and the result without what differs between equal runs."""
    result = json.loads((folder / "result.json").read_text())
    del result["surrogate"]["fit_time_s"]
    timeless = {k: v for k, v in result.items() if "time" not in k and "energy" not in k}
    return (folder / "records.jsonl").read_bytes(), timeless
