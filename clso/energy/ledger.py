"""The run's energy and time account: what each phase cost, kept across interruptions.

Every phase is charged. A phase that was cut short by a kill spent joules that no meter saw, so its
energy becomes None with that reason: the run's losses stay good, but no saving is claimed from it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from clso.energy import EnergyMeter, PhaseTotals, Window
from clso.energy.usage import NOTHING, Usage
from clso.energy.window import add_totals, unmeasured

__all__ = ["CHARGED", "Ledger"]

CHARGED = ("library", "search", "validate")
"""Phases that make up a run's total. Loading and tokenising the text and, once it is chosen,
measuring the winner on all of `valid` and `test` are reported apart, as they are for every
baseline."""


class Ledger:
    """Sums a meter's windows by phase, on top of what an earlier process had spent."""

    def __init__(self, meter: EnergyMeter, earlier: dict[str, PhaseTotals] | None = None) -> None:
        self.meter = meter
        self._earlier = {name: _complete(totals) for name, totals in (earlier or {}).items()}
        self._elsewhere: Callable[[], Usage] = lambda: NOTHING

    def include(self, usage: Callable[[], Usage]) -> None:
        """From now on (in a phase: from its begin) charge what `usage` counts, too: work that the
        meter does not see."""
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
        return {n: add_totals([t[n] for t in (self._earlier, now) if n in t]) for n in names}

    def lost(self, name: str) -> None:
        """Note that work of this phase went unmeasured (the process that did it was killed)."""
        reason = "a killed process had spent energy that was not measured"
        self._earlier[name] = unmeasured(self._earlier.get(name), reason)

    def total(self) -> PhaseTotals:
        """What is charged so far."""
        phases = self.phases()
        return add_totals([phases[n] for n in CHARGED if n in phases])

    def summary(self) -> dict[str, Any]:
        """For result.json: joules (gross, net) and seconds by phase, their totals, the source, and
        why joules are missing.

        Phases too short for the source one by one are None with their reason in `reasons`; their
        total may be long enough."""
        phases, total = self.phases(), self.total()
        energy: dict[str, Any] = {
            "source": self.meter.source,
            "resolution_s": self.meter.resolution_s,
            "idle_w": self.meter.idle_w,
            "gross": {**{n: p["energy_j"] for n, p in phases.items()}, "total": total["energy_j"]},
            "net": {
                **{n: p["energy_net_j"] for n, p in phases.items()},
                "total": total["energy_net_j"],
            },
            "reasons": {n: p["reason"] for n, p in phases.items() if p["energy_j"] is None},
        }
        measured = total["energy_j"] is not None
        return {
            "energy_j": energy if measured else None,
            "energy_reason": None if measured else (self.meter.reason or total["reason"]),
            "time_s": {**{n: p["time_s"] for n, p in phases.items()}, "total": total["time_s"]},
            "cpu_time_s": {
                **{n: p["cpu_time_s"] for n, p in phases.items()},
                "total": total["cpu_time_s"],
            },
        }


def _add_usage(window: Window, usage: Usage) -> None:
    window.cpu_time_s += usage.cpu_time_s
    if usage.energy_j is None:
        window.read_j, window.fault = (
            None,
            window.fault or usage.reason or "the workers' energy was not measured",
        )
    elif usage.energy_j and window.read_j is not None:
        window.read_j += usage.energy_j
        window.idle_w = None  # other machines' idle power was not measured, so nothing net is known


def _complete(totals: PhaseTotals) -> PhaseTotals:
    """Totals as they are kept today: earlier versions kept no `read_j`, and took every gain as resolved."""
    read = {"read_j": totals["energy_j"], "read_net_j": totals["energy_net_j"], "resolution_s": 0.0}
    return {**read, **totals}  # type: ignore[typeddict-item]
