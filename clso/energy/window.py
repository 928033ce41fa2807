"""What one measurement window says, and sums over windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

__all__ = ["PhaseTotals", "Window", "sum_optional", "sum_windows"]

# Each end of a window may be one counter update off; over this many updates that is under 20 %.
MIN_UPDATES = 10


@dataclass
class Window:
    """One measured stretch of work; it is filled in when the window closes.

    Attributes:
        name: the phase.
        source: where the joules come from.
        resolution_s: time between the source's updates.
        time_s: wall-clock seconds.
        cpu_time_s: user and system seconds of this process and its descendants.
        energy_j: gross joules, or `None` where they were not measured.
        idle_w: the idle power to subtract, or `None` before it was measured.
        reason: why `energy_j` is `None`.
    """

    name: str
    source: str
    resolution_s: float
    time_s: float = 0.0
    cpu_time_s: float = 0.0
    energy_j: float | None = None
    idle_w: float | None = None
    reason: str | None = "the window is still open"

    @property
    def energy_net_j(self) -> float | None:
        """Joules above idle, `energy_j - idle_w * time_s` (may be negative); `None` unless both are known."""
        if self.energy_j is None or self.idle_w is None:
            return None
        return self.energy_j - self.idle_w * self.time_s

    @property
    def short(self) -> bool:
        """Whether the window is too short for the source's resolution to be trusted; its joules are kept."""
        return self.time_s < MIN_UPDATES * self.resolution_s


class PhaseTotals(TypedDict):
    """Sums over windows. `reason` says why `energy_j` is `None`; a net of `None` alone: idle was not."""

    energy_j: float | None
    energy_net_j: float | None
    time_s: float
    cpu_time_s: float
    reason: str | None


def sum_windows(windows: Sequence[Window]) -> PhaseTotals:
    """Sum windows; one that was not measured makes the sum `None`, and so does having none at all."""
    reasons = dict.fromkeys(w.reason for w in windows if w.reason is not None)
    if not windows:
        reasons = {"no window was measured": None}
    return {
        "energy_j": sum_optional(w.energy_j for w in windows) if windows else None,
        "energy_net_j": sum_optional(w.energy_net_j for w in windows) if windows else None,
        "time_s": math.fsum(w.time_s for w in windows),
        "cpu_time_s": math.fsum(w.cpu_time_s for w in windows),
        "reason": "; ".join(reasons) or None,
    }


def sum_optional(values: Iterable[float | None]) -> float | None:
    """The sum, or None where a value is missing."""
    numbers = []
    for value in values:
        if value is None:
            return None
        numbers.append(value)
    return math.fsum(numbers)
