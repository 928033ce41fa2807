"""Waits for conditions. Their bound is there for hangs only: a loaded machine is many times slower
than an idle one."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from typing import Any

HANG_S = 900.0


def wait_for(
    condition: Callable[[], Any], what: str, process: subprocess.Popen[str] | None = None
) -> Any:
    """The first value of `condition` that is true. Fails at once if `process`, which is to bring it
    about, has ended."""
    deadline = time.monotonic() + HANG_S
    while True:
        has_ended = process is not None and process.poll() is not None
        if found := condition():
            return found
        assert not has_ended, f"{what} will not come: {process.communicate() if process else ''}"
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)
