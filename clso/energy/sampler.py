"""A thread that takes a reading again and again while a window is open."""

from __future__ import annotations

import threading
from collections.abc import Callable

from clso.energy.backend import ReadingFault, describe

__all__ = ["PeriodicSampler"]

# A driver call that hangs must not hang the work being measured: past this the reading is given up.
STOP_TIMEOUT_S = 5.0


class PeriodicSampler:
    """Calls `sample` every `period_s` seconds on a daemon thread until `stop`, or until `sample`
    raises."""

    def __init__(self, sample: Callable[[], None], period_s: float) -> None:
        self._sample, self._period_s = sample, period_s
        self._stopping = threading.Event()
        self._fault: str | None = None
        self._thread = threading.Thread(target=self._run, name="clso-energy", daemon=True)

    def start(self) -> None:
        """Start sampling."""
        self._thread.start()

    def stop(self) -> None:
        """Stop sampling.

        Raises:
            ReadingFault: a sample failed (the first failure's reason), or the thread does not
            answer.
        """
        self._stopping.set()
        self._thread.join(STOP_TIMEOUT_S)
        if self._thread.is_alive():
            raise ReadingFault(f"the energy source did not answer within {STOP_TIMEOUT_S:.0f} s")
        if self._fault is not None:
            raise ReadingFault(self._fault)

    def _run(self) -> None:
        try:
            while not self._stopping.wait(self._period_s):
                self._sample()
        except Exception as error:
            self._fault = describe(error)
