"""Ray's process on this machine, the raylet, watched: without it Ray ends the driver within seconds
and says nothing."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from clso.errors import EvaluationError

if TYPE_CHECKING:
    from psutil import Process  # type: ignore[import-untyped, unused-ignore]

__all__ = ["Raylet"]

_PERIOD_S = 1.0
_GRACE_S = 4.0


class Raylet:
    """The raylet that listens on a socket; nothing is known of one that cannot be seen.

    `check` raises once it is dead. If nobody asks in time, because this process computes by itself
    for long, the error's line is at least written to stderr before Ray ends the process."""

    def __init__(self, socket_name: str, logs: str) -> None:
        self._process, self._logs = _find(socket_name), logs
        self._closing = threading.Event()
        if self._process is not None:
            threading.Thread(target=self._watch, name="clso-raylet", daemon=True).start()

    @property
    def is_dead(self) -> bool:
        import psutil

        if self._process is None:
            return False
        try:
            return not self._process.is_running() or self._process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            return True

    def check(self) -> None:
        """Raises `EvaluationError` if it is dead."""
        if self.is_dead:
            self.close()
            raise self._error()

    def close(self) -> None:
        """From now on its end is nobody's concern."""
        self._closing.set()

    def _error(self) -> EvaluationError:
        return EvaluationError(
            "Ray's process on this machine, the raylet, lives as long as the run",
            problem=f"Ray's process died; its logs are in {self._logs}",
            remedy="The run is whole up to its last checkpoint: clso resume RUN.",
        )

    def _watch(self) -> None:
        while not self._closing.wait(_PERIOD_S):
            if self.is_dead:
                if not self._closing.wait(_GRACE_S):
                    sys.stderr.write(f"error: {self._error()}\n")
                    sys.stderr.flush()
                return


def _find(socket_name: str) -> Process | None:
    import psutil

    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.name() == "raylet" and any(
                a.endswith(socket_name) for a in process.cmdline()
            ):
                return process
    return None
