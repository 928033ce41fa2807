"""Recorded readings played back, so that resets, gaps and lost drivers can be tested without the
hardware."""

from __future__ import annotations

from collections.abc import Sequence

from clso.energy.backend import ReadingFault
from clso.energy.counter import CounterBackend, CounterLimits
from clso.energy.nvml_sampled import MAX_GAP_S, PowerIntegral

__all__ = ["Recording", "ReplayClock", "ReplayPower", "replay_counter"]

Recording = Sequence[tuple[float, float | Exception]]
"""(time_s, value) in order of time; an exception is raised in place of that reading."""


class ReplayClock:
    """A clock that moves only when told; `advance` stands in for `time.sleep`."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Move on by `seconds`."""
        self.now_s += seconds


def _latest(recording: Recording, now_s: float) -> float:
    """Return the last value at or before `now_s`: a counter shows its last update."""
    past = [value for time_s, value in recording if time_s <= now_s]
    if not past:
        raise ReadingFault(f"the recording holds nothing at or before {now_s:.3f} s")
    if isinstance(past[-1], Exception):
        raise past[-1]
    return past[-1]


def replay_counter(
    recordings: Sequence[Recording], clock: ReplayClock, limits: CounterLimits
) -> CounterBackend:
    """Return a counter source over one recording of joules for each unit."""
    return CounterBackend(
        "replay", lambda: [_latest(r, clock.now_s) for r in recordings], limits, clock
    )


class ReplayPower:
    """A sampled source over a recording of watts: the samples inside the window and the ones at its
    ends."""

    source = "replay"
    reason: str | None = None
    n_units = 1

    def __init__(
        self,
        recording: Recording,
        clock: ReplayClock,
        resolution_s: float = 1.0,
        max_gap_s: float = MAX_GAP_S,
    ) -> None:
        self._recording, self._clock, self._max_gap_s = recording, clock, max_gap_s
        self.resolution_s = resolution_s
        self._started_s = 0.0

    def begin(self) -> None:
        """Note where the window starts."""
        _latest(self._recording, self._clock.now_s)
        self._started_s = self._clock.now_s

    def end(self) -> float:
        """Return the joules since `begin`, by the trapezoid rule."""
        integral = PowerIntegral(self._max_gap_s)
        integral.add(self._started_s, _latest(self._recording, self._started_s))
        for time_s, value in self._recording:
            if self._started_s < time_s <= self._clock.now_s:
                if isinstance(value, Exception):
                    raise value
                integral.add(time_s, value)
        return integral.energy_j

    def close(self) -> None:
        """Nothing to give back."""
