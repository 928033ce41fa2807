"""What workers spent that no meter of the driver's sees: their reports, and sums over them."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from clso.energy.window import sum_optional

__all__ = ["NOTHING", "Accounts", "Report", "Usage"]


@dataclass(frozen=True)
class Usage:
    """Gross joules (None: not measured, with the reason) and CPU seconds."""

    energy_j: float | None = 0.0
    cpu_time_s: float = 0.0
    reason: str | None = None

    def since(self, start: Usage) -> Usage:
        """What was added after `start`."""
        if self.energy_j is None or start.energy_j is None:
            return Usage(None, self.cpu_time_s - start.cpu_time_s, self.reason or start.reason)
        return Usage(self.energy_j - start.energy_j, self.cpu_time_s - start.cpu_time_s)


NOTHING = Usage()


@dataclass(frozen=True)
class Report:
    """What one worker spent since its birth. `unit` names what its source measures: a card, or a
    machine."""

    unit: str
    usage: Usage


class Accounts:
    """Sums the latest reports of all workers, dead ones included.

    A unit is counted once: for workers that share a machine's counter, by its first one. Units in
    `known` are the driver's own meter's, and not counted here. Joules that a worker took into its
    grave make the sum None."""

    def __init__(self, known: Collection[str] = ()) -> None:
        self._known = known
        self._counted_by: dict[str, int] = {}
        self._latest: dict[int, Usage] = {}
        self._lost: str | None = None

    def update(self, worker: int, report: Report) -> None:
        """Take in a worker's report."""
        usage = report.usage
        if report.unit in self._known or self._counted_by.setdefault(report.unit, worker) != worker:
            usage = Usage(0.0, usage.cpu_time_s)
        self._latest[worker] = usage

    def died(self, worker: int) -> None:
        """Note a worker's death. What it spent last on a unit that it alone counted is not known;
        the next one counts on."""
        units = [unit for unit, counter in self._counted_by.items() if counter == worker]
        if worker not in self._latest or (units and self._latest[worker].energy_j is not None):
            self._lost = "a worker died with the account of its energy"
        for unit in units:
            del self._counted_by[unit]

    def total(self) -> Usage:
        """The sum so far."""
        cpu_time_s = sum(u.cpu_time_s for u in self._latest.values())
        reasons = dict.fromkeys(u.reason for u in self._latest.values() if u.reason)
        energy_j = sum_optional(u.energy_j for u in self._latest.values())
        if self._lost or energy_j is None:
            return Usage(
                None,
                cpu_time_s,
                "; ".join([*reasons, *([self._lost] if self._lost else [])]) or None,
            )
        return Usage(energy_j, cpu_time_s)
