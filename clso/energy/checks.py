"""Does the meter's source tell the truth? Used by `clso doctor` and `clso prove`."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import TypedDict

from clso.energy.backend import Backend, describe
from clso.energy.meter import EnergyMeter
from clso.energy.nvml import NvmlCounter
from clso.energy.nvml_sampled import NvmlSampled
from clso.energy.window import Window

__all__ = ["Check", "SelfTest", "self_test"]

MIN_W, MAX_W = 1.0, 2000.0
AGREEMENT = 0.05
# Cards ramp their clocks when first touched and their power reading averages over the last second.
SETTLE_S = 1.5
POLL_S = 0.05


class Check(TypedDict):
    """`ok` is `None` if the check does not apply; `value` was found, in the unit `detail`
    names."""

    ok: bool | None
    value: float | None
    detail: str


class SelfTest(TypedDict):
    """`ok`: whether every check that applies passed; `None` if none did."""

    source: str
    reason: str | None
    ok: bool | None
    checks: dict[str, Check]


def self_test(
    meter: EnergyMeter,
    seconds: float = 5.0,
    work: Callable[[], object] | None = None,
    reference: Backend | None = None,
) -> SelfTest:
    """Measure `seconds` and judge the readings; no window of it is recorded.

    Args:
        meter: an open meter without an open window.
        seconds: how long to measure, after 1.5 s of settling.
        work: called over and over meanwhile, for a test under load; sleeps if not given.
        reference: a second, sampled source to compare a counter with; NVML's power by default if
            the meter reads NVML's counter.

    Returns:
        checks "counter_monotonic", "plausible_watts" (1 to 2000 W for each card or package) and
        "counter_agrees_with_power" (within 5 %).

    Raises:
        EnergyError: a window is open, or the meter is closed. Errors of `work` pass through.
    """
    if meter.reason is not None:
        absent: Check = {"ok": None, "value": None, "detail": meter.reason}
        names = ("counter_monotonic", "plausible_watts", "counter_agrees_with_power")
        return {
            "source": meter.source,
            "reason": meter.reason,
            "ok": None,
            "checks": dict.fromkeys(names, absent),
        }
    counter = meter.counter
    second_reason = "needs an NVML counter and NVML's sampled power"
    if reference is None and isinstance(counter, NvmlCounter):
        try:
            reference = NvmlSampled(counter.cards, meter.clock)
        except Exception as error:
            second_reason = describe(error)
    readings: list[list[float]] = []
    reading_fault: str | None = None

    def keep_busy(duration_s: float, read: bool) -> None:
        nonlocal reading_fault
        end_s = meter.clock() + duration_s
        while meter.clock() < end_s:
            if work is None:
                meter.sleep(POLL_S)
            else:
                work()
                meter.synchronise()
            if read and counter is not None:
                try:
                    readings.append(counter.read_j())
                except Exception as error:
                    reading_fault = describe(error)

    keep_busy(SETTLE_S, read=False)
    with meter.window("self-test", record=False) as window:
        if reference is None:
            keep_busy(seconds, read=True)
        else:
            with EnergyMeter(reference, clock=meter.clock).window("reference") as second:
                keep_busy(seconds, read=True)
    checks = {
        "counter_monotonic": _monotonic(meter, readings, reading_fault),
        "plausible_watts": _plausible(window, meter.n_units),
        "counter_agrees_with_power": (
            {"ok": None, "value": None, "detail": second_reason}
            if reference is None
            else _agreement(window, second)
        ),
    }
    verdicts = [check["ok"] for check in checks.values() if check["ok"] is not None]
    return {
        "source": meter.source,
        "reason": window.reason,
        "ok": all(verdicts) if verdicts else None,
        "checks": checks,
    }


def _monotonic(meter: EnergyMeter, readings: list[list[float]], fault: str | None) -> Check:
    if meter.counter is None:
        return {"ok": None, "value": None, "detail": f"{meter.source} has no counter"}
    if fault is not None:
        return {"ok": False, "value": None, "detail": fault}
    if len(readings) < 2:
        return {"ok": None, "value": None, "detail": "fewer than two readings"}
    # A counter that wraps may step back once on its way; any other step back is a reset.
    allowed = 0 if meter.counter.limits.ranges_j is None else 1
    steps = [
        [after - before for before, after in pairwise(unit)] for unit in zip(*readings, strict=True)
    ]
    ok = all(sum(step < 0 for step in unit) <= allowed and any(unit) for unit in steps)
    value = min(min(unit) for unit in steps)
    return {
        "ok": ok,
        "value": value,
        "detail": f"smallest step in J over {len(readings)} readings; it must move",
    }


def _plausible(window: Window, n_units: int) -> Check:
    if window.energy_j is None or window.time_s <= 0:
        return {"ok": False, "value": None, "detail": window.reason or "the clock did not move"}
    watts = window.energy_j / window.time_s / n_units
    return {
        "ok": MIN_W <= watts <= MAX_W,
        "value": watts,
        "detail": f"mean W for each unit; plausible is {MIN_W:.0f} to {MAX_W:.0f}",
    }


def _agreement(counter: Window, sampled: Window) -> Check:
    if counter.energy_j is None or sampled.energy_j is None or not sampled.energy_j > 0:
        reason = counter.reason or sampled.reason or "the sampled power was 0 W"
        return {"ok": False, "value": None, "detail": reason}
    ratio = (counter.energy_j / counter.time_s) / (sampled.energy_j / sampled.time_s)
    return {
        "ok": abs(ratio - 1) <= AGREEMENT,
        "value": ratio,
        "detail": f"counter over sampled power; within {AGREEMENT:.0%} of 1",
    }
