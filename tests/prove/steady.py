"""An energy source whose joules are known."""

from __future__ import annotations

import time

from clso.energy import EnergyMeter
from clso.energy.counter import CounterBackend, CounterLimits

WATTS = 100.0
IDLE_SHARE = 0.25


class SteadySource:
    """A device that draws 100 W, and 25 W while the meter sleeps: its counter's joules are known
    exactly."""

    def __init__(self) -> None:
        self.slept_s = 0.0

    def read_j(self) -> list[float]:
        return [WATTS * (time.perf_counter() - (1 - IDLE_SHARE) * self.slept_s)]

    def sleep(self, seconds: float) -> None:
        begin = time.perf_counter()
        time.sleep(seconds)
        self.slept_s += time.perf_counter() - begin

    def meter(self, source: str = "auto", device: str = "cpu") -> EnergyMeter:
        limits = CounterLimits(resolution_s=1e-6, max_w=1000.0)
        return EnergyMeter(
            CounterBackend("steady", self.read_j, limits, time.perf_counter), (), sleep=self.sleep
        )
