"""The run's energy and time account: what each phase cost, kept across interruptions.

Every phase is charged. A phase that was cut short by a kill spent joules that no meter saw, so its energy becomes None
with that reason: the run's losses stay good, but no saving is claimed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clso.energy import EnergyMeter, PhaseTotals, Window
from clso.evaluation.usage import NOTHING, Usage

__all__ = ["CHARGED", "Ledger"]

CHARGED = ("library", "search", "validate")
"""Phases that make up a run's total. Loading and tokenising the text and, once it is chosen, measuring the winner on all of
`valid` and `test` are reported apart, as they are for every baseline."""

_FIELDS = ("energy_j", "energy_net_j")


class Ledger:
    """Sums a meter's windows by phase, on top of what an earlier process had spent."""

    def __init__(self, meter: EnergyMeter, earlier: dict[str, PhaseTotals] | None = None) -> None:
        self.meter = meter
        self._earlier = earlier or {}
        self._elsewhere: Callable[[], Usage] = lambda: NOTHING

    def include(self, usage: Callable[[], Usage]) -> None:
        """From now on (in a phase: from its begin) charge what `usage` counts, too: work that the meter does not see."""
        self._elsewhere = usage

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge the body to a phase."""
        before = self._elsewhere()
        with self.meter.window(name) as window:
            yield
        _add_usage(window, self._elsewhere().since(before))

    def phases(self) -> dict[str, PhaseTotals]:
        """Totals by phase."""
        now = self.meter.by_phase()
        names = dict.fromkeys((*self._earlier, *now))
        return {n: _add([t[n] for t in (self._earlier, now) if n in t]) for n in names}

    def lost(self, name: str) -> None:
        """Note that work of this phase went unmeasured (the process that did it was killed)."""
        reason = "a killed process had spent energy that was not measured"
        spent = self._earlier.get(name) or _add([])
        self._earlier[name] = {**spent, "energy_j": None, "energy_net_j": None, "reason": reason}

    def summary(self) -> dict[str, Any]:
        """For result.json: `energy_j`, `time_s` by phase with their totals, the source, and why energy is missing."""
        phases = self.phases()
        total = _add([phases[n] for n in CHARGED if n in phases])
        energy: dict[str, Any] = {"source": self.meter.source, "idle_w": self.meter.idle_w}
        for key, field in (("gross", "energy_j"), ("net", "energy_net_j")):
            energy[key] = {**{n: p[field] for n, p in phases.items()}, "total": total[field]}  # type: ignore[literal-required]
        measured = total["energy_j"] is not None
        return {
            "energy_j": energy if measured else None,
            "energy_reason": None if measured else (total["reason"] or self.meter.reason),
            "time_s": {**{n: p["time_s"] for n, p in phases.items()}, "total": total["time_s"]},
            "cpu_time_s": {**{n: p["cpu_time_s"] for n, p in phases.items()}, "total": total["cpu_time_s"]},
        }


def _add_usage(window: Window, usage: Usage) -> None:
    window.cpu_time_s += usage.cpu_time_s
    if usage.energy_j is None:
        window.energy_j, window.reason = None, window.reason or usage.reason
    elif usage.energy_j and window.energy_j is not None:
        window.energy_j += usage.energy_j
        window.idle_w = None  # other machines' idle power was not measured, so nothing net is known


def _add(parts: list[PhaseTotals]) -> PhaseTotals:
    def total(values: list[float | None]) -> float | None:
        return None if not values or any(v is None for v in values) else sum(v for v in values if v is not None)

    reasons = dict.fromkeys(p["reason"] for p in parts if p["reason"])
    return {
        "energy_j": total([p["energy_j"] for p in parts]),
        "energy_net_j": total([p["energy_net_j"] for p in parts]),
        "time_s": sum(p["time_s"] for p in parts),
        "cpu_time_s": sum(p["cpu_time_s"] for p in parts),
        "reason": "; ".join(reasons) or None,
    }
