"""What the tests of workers share."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

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

    def lines(self, what: str) -> Counter[str]:
        """Genomes that were "begun" or "done"."""
        return Counter(line for p in self.folder.glob(f"*.{what}") for line in p.read_text().splitlines())


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = 90.0) -> Any:
    deadline = time.monotonic() + timeout_s
    while not (found := condition()):
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
    return found


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
    return subprocess.Popen(command, env=environment, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def outcome(folder: Path) -> tuple[bytes, dict[str, Any]]:
    """The record, and the result without what differs between equal runs."""
    result = json.loads((folder / "result.json").read_text())
    del result["surrogate"]["fit_time_s"]
    timeless = {k: v for k, v in result.items() if "time" not in k and "energy" not in k}
    return (folder / "records.jsonl").read_bytes(), timeless
