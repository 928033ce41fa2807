"""The meter: windows around work, on one energy source."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType

from clso.energy.backend import Backend, Clock, checked_reading, describe
from clso.energy.counter import CounterBackend
from clso.energy.cpu_time import CpuTime, read_cpu_time
from clso.energy.device import synchronise
from clso.energy.nvml import NvmlCounter
from clso.energy.window import PhaseTotals, Window, sum_windows, unmeasured
from clso.errors import EnergyError

__all__ = ["EnergyMeter"]


class EnergyMeter:
    """Measures named windows, one at a time; `open_meter` makes one.

    Whatever the source does inside a window, the work goes on: a failed reading is `None` with a
    reason.

    Attributes
    ----------
    source
        Name of the source.
    reason
        Why nothing is ever measured, or `None`.
    windows
        The finished windows, in order.
    idle_w
        The last measured idle power, in watts, or `None`.
    idle_reason
        Why `idle_w` is `None`.

    Examples
    --------
    Without a source there are seconds, and a reason instead of joules:

    >>> from clso.energy import open_meter
    >>> with open_meter("null") as meter, meter.window("search") as window:
    ...     total = sum(range(1000))
    >>> window.energy_j, window.reason
    (None, 'energy measurement was switched off')
    >>> window.time_s > 0
    True
    """

    def __init__(
        self,
        backend: Backend,
        cuda_indices: Sequence[int] = (),
        *,
        clock: Clock = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
        cpu_time: Callable[[], CpuTime] = read_cpu_time,
    ) -> None:
        self._backend = backend
        self.clock = clock
        self.sleep = sleep
        self.source, self.reason = backend.source, backend.reason
        self.windows: list[Window] = []
        self.idle_w: float | None = None
        self.idle_reason: str | None = "idle power was not measured"
        self._cuda_indices, self._cpu_time = tuple(cuda_indices), cpu_time
        self._lock = threading.Lock()
        self._open: str | None = None
        self._closed = False

    @property
    def backend(self) -> Backend:
        """The source itself, for tools and tests; the framework asks the meter."""
        return self._backend

    @property
    def resolution_s(self) -> float:
        """Seconds between the source's own updates."""
        return self._backend.resolution_s

    @property
    def n_units(self) -> int:
        """How many cards or packages are summed."""
        return self._backend.n_units

    @property
    def counter(self) -> CounterBackend | None:
        """The cumulative counter that the meter reads; `None` for other kinds of source."""
        return self._backend if isinstance(self._backend, CounterBackend) else None

    def so_far_j(self) -> float | None:
        """Joules of the open window up to now; `None` if the source tells them at its end only.

        Raises:
            Exception: whatever the source raises if it cannot be read.
        """
        return None if self.counter is None else self.counter.so_far()

    def power_reader(self) -> Callable[[], float] | None:
        """What reads the watts drawn now; `None` if the source has no such reading."""
        if not isinstance(self._backend, NvmlCounter):
            return None
        cards = self._backend.cards
        return lambda: sum(cards.power_w())

    @contextmanager
    def window(self, name: str, *, record: bool = True) -> Iterator[Window]:
        """Measure the body of a `with`; it is closed and recorded when the body raises, too.

        Args:
            name: the phase; windows of one name are summed by `by_phase`.
            record: whether the window belongs to the run; idle and self-test windows do not.

        Raises:
            EnergyError: another window is open, or the meter is closed.
        """
        self._claim(name)
        try:
            window = Window(name, self.source, self.resolution_s)
            cpu_start = self._cpu_time()
            fault = self._attempt(self._begin)
            start_s = self.clock()
            try:
                yield window
            finally:
                # The device is waited for before the clock is read: queued work belongs to the
                # window.
                fault = fault or self._attempt(self.synchronise)
                window.time_s = self.clock() - start_s
                energy_j: list[float] = []
                end_fault = self._attempt(
                    lambda: energy_j.append(checked_reading(self._backend.end(), "J"))
                )
                window.fault = fault or end_fault
                window.read_j = None if window.fault else energy_j[0]
                window.idle_w = self.idle_w
                window.cpu_time_s = self._cpu_time().since(cpu_start)
                if record:
                    self.windows.append(window)
        finally:
            self._open = None

    def measure_idle(self, seconds: float) -> float | None:
        """Do nothing for `seconds`; return the mean power in watts, or `None` (see `idle_reason`).

        Becomes `idle_w` for the windows that follow and for earlier ones that have none yet. Let
        the device settle first, and give it at least ten times the source's resolution.

        Raises:
            EnergyError: `seconds` is not positive, a window is open, or the meter is closed.
        """
        if not seconds > 0:
            raise EnergyError("Idle power needs a positive number of seconds", got=seconds)
        with self.window("idle", record=False) as window:
            if self.reason is None:
                self.sleep(seconds)
        if window.energy_j is None or window.time_s <= 0:
            self.idle_reason = window.reason or "the clock did not move"
            return None
        self.idle_w, self.idle_reason = window.energy_j / window.time_s, None
        for earlier in self.windows:
            if earlier.idle_w is None:
                earlier.idle_w = self.idle_w
        return self.idle_w

    def by_phase(self) -> dict[str, PhaseTotals]:
        """Return the sums for each window name, in order of first use."""
        names = dict.fromkeys(window.name for window in self.windows)
        return {name: sum_windows([w for w in self.windows if w.name == name]) for name in names}

    def total(self) -> PhaseTotals:
        """Return the sums over all windows."""
        nothing = unmeasured(None, self.reason) if self.reason and not self.windows else None
        return nothing or sum_windows(self.windows)

    def synchronise(self) -> None:
        """Wait for the work queued on the meter's CUDA devices."""
        synchronise(self._cuda_indices)

    def close(self) -> None:
        """Give the source back; the finished windows stay readable. Closing twice is fine."""
        if not self._closed:
            self._closed = True
            self._attempt(self._backend.close)

    def __enter__(self) -> EnergyMeter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _claim(self, name: str) -> None:
        with self._lock:
            if self._closed:
                raise EnergyError("A closed meter opens no windows", got=name)
            if self._open is not None:
                raise EnergyError(
                    f"Windows must not overlap: {self._open!r} is open",
                    got=name,
                    remedy="Close the first window before opening the next",
                )
            self._open = name

    def _begin(self) -> None:
        self.synchronise()
        self._backend.begin()

    @staticmethod
    def _attempt(action: Callable[[], object]) -> str | None:
        """Run `action`; return the reason if it failed."""
        try:
            action()
        except Exception as error:
            return describe(error) or "the energy source failed"
        return None
