"""What one measurement window says, and sums over windows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypedDict

__all__ = [
    "MIN_UPDATES",
    "PhaseTotals",
    "Window",
    "add_totals",
    "sum_optional",
    "sum_windows",
    "unmeasured",
]

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
        read_j: what the source's readings differ by, in joules, or `None` if they failed. It is
            only for adding up: a window between two updates reads 0.0 J or a whole update's joules,
            whatever was spent in it.
        idle_w: the idle power to subtract, or `None` before it was measured.
        fault: why `read_j` is `None`.
    """

    name: str
    source: str
    resolution_s: float
    time_s: float = 0.0
    cpu_time_s: float = 0.0
    read_j: float | None = None
    idle_w: float | None = None
    fault: str | None = "the window is still open"

    @property
    def energy_j(self) -> float | None:
        """Gross joules, or `None` if they were not measured; `reason` says why."""
        return self.read_j if self.reason is None else None

    @property
    def energy_net_j(self) -> float | None:
        """Joules above idle, `energy_j - idle_w * time_s` (may be negative); `None` unless both are
        known."""
        return self.read_net_j if self.reason is None else None

    @property
    def read_net_j(self) -> float | None:
        """`read_j` above idle, likewise only for adding up."""
        if self.read_j is None or self.idle_w is None:
            return None
        return self.read_j - self.idle_w * self.time_s

    @property
    def reason(self) -> str | None:
        """Why `energy_j` is `None`: a fault, or a window too short for the source to see."""
        return self.fault or _unresolved(self.read_j, self.time_s, self.resolution_s)

    @property
    def short(self) -> bool:
        """Whether the joules, if there are any, may be more than a tenth off at either end: no
        saving is claimed from it."""
        return self.time_s < MIN_UPDATES * self.resolution_s


class PhaseTotals(TypedDict):
    """Sums over windows. `reason` says why `energy_j` is `None`; a net of `None` alone: idle was
    not measured.

    `read_j`, `read_net_j` and `resolution_s` (the sum of the windows') are only for adding up
    further: windows that are too short one by one can be long enough together."""

    energy_j: float | None
    energy_net_j: float | None
    time_s: float
    cpu_time_s: float
    reason: str | None
    read_j: float | None
    read_net_j: float | None
    resolution_s: float


def sum_windows(windows: Sequence[Window]) -> PhaseTotals:
    """Sum windows; one that could not be read makes the sum `None`, and so does having none at
    all."""
    return add_totals([_of(w) for w in windows], nothing="no window was measured")


def add_totals(
    parts: Sequence[PhaseTotals], *, nothing: str = "nothing was measured"
) -> PhaseTotals:
    """Sum sums. A part that could not be read makes the sum `None`; `nothing` is the reason if
    there is no part."""
    faults = dict.fromkeys(p["reason"] for p in parts if p["read_j"] is None and p["reason"])
    read_j = sum_optional(p["read_j"] for p in parts) if parts else None
    time_s = math.fsum(p["time_s"] for p in parts)
    resolution_s = math.fsum(p["resolution_s"] for p in parts)
    read_net_j = sum_optional(p["read_net_j"] for p in parts) if parts else None
    reason = _unresolved(read_j, time_s, resolution_s) if parts else nothing
    if read_j is None and parts:
        reason = "; ".join(faults) or "a part was not measured"
    return {
        "energy_j": read_j if reason is None else None,
        "energy_net_j": read_net_j if reason is None else None,
        "time_s": time_s,
        "cpu_time_s": math.fsum(p["cpu_time_s"] for p in parts),
        "reason": reason,
        "read_j": read_j,
        "read_net_j": read_net_j,
        "resolution_s": resolution_s,
    }


def unmeasured(totals: PhaseTotals | None, reason: str) -> PhaseTotals:
    """`totals` (None: of nothing) without its joules, for `reason`."""
    spent = totals or add_totals([])
    lost: PhaseTotals = {
        **spent,
        "energy_j": None,
        "energy_net_j": None,
        "read_j": None,
        "read_net_j": None,
    }
    return {**lost, "reason": reason}


def sum_optional(values: Iterable[float | None]) -> float | None:
    """The sum, or None if a value is missing: what was not measured is not nothing."""
    numbers = []
    for value in values:
        if value is None:
            return None
        numbers.append(value)
    return math.fsum(numbers)


def _of(window: Window) -> PhaseTotals:
    return {
        "energy_j": window.energy_j,
        "energy_net_j": window.energy_net_j,
        "time_s": window.time_s,
        "cpu_time_s": window.cpu_time_s,
        "reason": window.reason,
        "read_j": window.read_j,
        "read_net_j": window.read_net_j,
        "resolution_s": window.resolution_s,
    }


def _unresolved(read_j: float | None, time_s: float, resolution_s: float) -> str | None:
    """Why joules that were read say nothing; None if they do."""
    if time_s < resolution_s:
        return f"{time_s:.3g} s is too short for the energy source: its readings may be {resolution_s:.3g} s old"
    if read_j is not None and not read_j > 0:
        return f"the energy source gained {read_j:g} J in {time_s:.3g} s, which no device draws"
    return None
