"""Energy from cumulative counters: what NVML's total-energy counter and RAPL have in common."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from clso.energy.backend import Clock, ReadingFault, checked_reading
from clso.energy.sampler import PeriodicSampler

__all__ = ["CounterBackend", "CounterLimits", "step_j"]

# A counter that has not moved for this many of its own updates is stuck, since no device draws 0 W.
STUCK_UPDATES = 10


@dataclass(frozen=True)
class CounterLimits:
    """What a counter can do.

    Attributes:
        resolution_s: time between the counter's own updates.
        max_w: no unit draws more than this; a faster counter is a reset or a glitch.
        ranges_j: for each unit, the value at which its counter starts again from 0; `None` if it
        never does.
        poll_s: read the counters this often inside a window too, so that no wrap or reset is
            missed; `None` for never.
    """

    resolution_s: float
    max_w: float
    ranges_j: tuple[float, ...] | None = None
    poll_s: float | None = None


def step_j(
    before_j: float, after_j: float, elapsed_s: float, limits: CounterLimits, unit: int = 0
) -> float:
    """Return the joules between two readings of one counter; raise `ReadingFault` if they are in
    doubt."""
    gained_j = after_j - before_j
    if limits.ranges_j is None:
        if gained_j < 0:
            raise ReadingFault(
                f"the energy counter went backwards ({before_j:.3f} J to {after_j:.3f} J): it was reset"
            )
    else:
        range_j = limits.ranges_j[unit]
        checked_reading(after_j, "J", range_j)
        if elapsed_s * limits.max_w > range_j:
            raise ReadingFault(
                f"the energy counter was not read for {elapsed_s:.1f} s, in which it may have wrapped unseen"
            )
        if gained_j < 0:
            gained_j += range_j
    # Either reading may be one update old, so a step may hold the energy of two updates more than
    # its time.
    if gained_j > limits.max_w * (elapsed_s + 2 * limits.resolution_s):
        raise ReadingFault(
            f"the energy counter jumped by {gained_j:.1f} J in {elapsed_s:.3f} s "
            f"(more than {limits.max_w:.0f} W): it was reset or misread"
        )
    return gained_j


class CounterBackend:
    """An energy source made of one cumulative counter for each unit (card, package).

    Args:
        source: the name that windows carry.
        read_j: returns every unit's counter, in joules and in the same order each time. It is read
            once here, so that a source which cannot be read is found before any work starts.
        limits: see `CounterLimits`.
        clock: monotonic seconds.
    """

    reason: str | None = None

    def __init__(
        self,
        source: str,
        read_j: Callable[[], Sequence[float]],
        limits: CounterLimits,
        clock: Clock,
    ) -> None:
        self.source, self.limits, self._read_j, self._clock = source, limits, read_j, clock
        self.resolution_s = limits.resolution_s
        self.n_units = len(self.read_j())
        self._lock = threading.Lock()
        self._poller: PeriodicSampler | None = None
        self._started_s = self._last_s = 0.0
        self._last_j: Sequence[float] = ()
        self._gained_j: list[float] = []

    def read_j(self) -> list[float]:
        """Return every unit's counter. Raises `ReadingFault` for a value that no counter has, and
        the source's own errors."""
        return [checked_reading(value, "J") for value in self._read_j()]

    def begin(self) -> None:
        """Read every counter, and start polling if the counters wrap."""
        self._last_j, self._last_s = self.read_j(), self._clock()
        self._started_s, self._gained_j = self._last_s, [0.0] * self.n_units
        if self.limits.poll_s is not None:
            self._poller = PeriodicSampler(self._step, self.limits.poll_s)
            self._poller.start()

    def so_far(self) -> float:
        """Return the joules of all units since `begin`, and go on counting. Raises `ReadingFault`
        as `end` does."""
        self._step()
        return sum(self._gained_j)

    def end(self) -> float:
        """Return the joules of all units since `begin`.

        Raises:
            ReadingFault: a counter was reset, jumped, stood still, or went unread for too long.
        """
        if self._poller is not None:
            poller, self._poller = self._poller, None
            poller.stop()
        self._step()
        elapsed_s = self._last_s - self._started_s
        if elapsed_s >= STUCK_UPDATES * self.resolution_s and min(self._gained_j) <= 0:
            raise ReadingFault(f"the energy counter did not move in {elapsed_s:.2f} s")
        return sum(self._gained_j)

    def close(self) -> None:
        """Nothing to give back."""

    def _step(self) -> None:
        with self._lock:
            after_j, now_s = self.read_j(), self._clock()
            if len(after_j) != self.n_units:
                raise ReadingFault(f"{len(after_j)} of {self.n_units} energy counters are left")
            for unit, (before, after) in enumerate(zip(self._last_j, after_j, strict=True)):
                self._gained_j[unit] += step_j(
                    before, after, now_s - self._last_s, self.limits, unit
                )
            self._last_j, self._last_s = after_j, now_s
