"""One window: whole runs repeated until it is long enough, each with its own joules and seconds,
and a power trace."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from clso.energy import EnergyMeter
from clso.energy.backend import ReadingFault, describe
from clso.energy.counter import CounterBackend
from clso.energy.sampler import PeriodicSampler

__all__ = ["Arm", "PowerTrace", "measure_window"]

TRACE_PERIOD_S = 0.1
TRACE_POINTS = 200


@dataclass(frozen=True)
class Arm:
    """One side of a comparison. `run(seed)` is a whole run, from tokens in host memory to the
    returned loss on valid."""

    name: str
    run: Callable[[int], float]


def measure_window(
    meter: EnergyMeter,
    arm: Arm,
    seeds: Sequence[int],
    window_s: float,
    *,
    whole_cycles: bool = True,
    kind: str = "window",
) -> dict[str, Any]:
    """Run `arm` round-robin over `seeds` for at least `window_s` seconds, in whole cycles unless
    told otherwise.

    Returns a row of type `kind`. `runs` are [seed, time_s, energy_j, valid_loss]; their seconds and
    joules add up to the window's, energies being None if the source cannot be read in between, or a
    run is over before its next update."""
    # seed, seconds and joules since the start, loss
    marks: list[tuple[int, float, float | None, float]] = []
    trace = PowerTrace(meter)
    with meter.window(arm.name, record=False) as window:
        trace.start()
        start_s = meter.clock()
        done = False
        while not done:
            for seed in seeds:
                loss = arm.run(seed)
                meter.synchronise()
                marks.append((seed, meter.clock() - start_s, _so_far(meter), loss))
                done = marks[-1][1] >= window_s
                if done and not whole_cycles:
                    break
        trace.stop()
    runs = []
    before_s, before_j = 0.0, None if window.energy_j is None else 0.0
    for i, (seed, at_s, at_j, loss) in enumerate(marks):
        last = i == len(marks) - 1
        at_s, at_j = (window.time_s, window.energy_j) if last else (at_s, at_j)
        gained = None if before_j is None or at_j is None else at_j - before_j
        # between two updates a run has nothing, or a whole update's joules
        if at_s - before_s < window.resolution_s:
            gained = None
        runs.append([seed, at_s - before_s, gained, loss if math.isfinite(loss) else None])
        before_s, before_j = at_s, at_j
    return {
        "type": kind,
        "arm": arm.name,
        "n_runs": len(runs),
        "time_s": window.time_s,
        "cpu_time_s": window.cpu_time_s,
        "energy_j": window.energy_j,
        "energy_reason": window.reason,
        "short": window.short,
        "runs": runs,
        "power_w": trace.points(),
        "power_reason": trace.reason,
    }


def _so_far(meter: EnergyMeter) -> float | None:
    try:
        return meter.so_far_j()
    except Exception:  # the window's own end says what is wrong
        return None


class PowerTrace:
    """Watts while a window is open: the card's own power reading, or what the counter gained
    between two looks."""

    def __init__(self, meter: EnergyMeter) -> None:
        self._meter, self._samples = meter, list[tuple[float, float]]()
        self._start_s = 0.0
        self._last = (0.0, 0.0)
        self._sampler: PeriodicSampler | None = None
        self.reason: str | None = None
        self._read = meter.power_reader()
        if self._read is None and (counter := meter.counter) is not None:
            self._read = lambda: self._gained(counter)
        elif self._read is None:
            self.reason = f"{meter.source} has no power to sample"

    def start(self) -> None:
        """Begin, just after the window did."""
        if self._read is not None:
            self._start_s = self._meter.clock()
            self._sampler = PeriodicSampler(self._sample, TRACE_PERIOD_S)
            self._sampler.start()

    def stop(self) -> None:
        """End; a sample that failed becomes `reason`."""
        if self._sampler is not None:
            try:
                self._sampler.stop()
            except ReadingFault as fault:
                self.reason = describe(fault)

    def points(self) -> list[list[float]]:
        """[seconds, watts], at most `TRACE_POINTS`, each the mean of its share of the samples."""
        n, most = len(self._samples), TRACE_POINTS
        edges = [n * i // min(n, most) for i in range(min(n, most) + 1)] if n else []
        parts = [self._samples[a:b] for a, b in pairwise(edges)]
        return [[round(sum(p[k] for p in part) / len(part), 6) for k in (0, 1)] for part in parts]

    def _sample(self) -> None:
        assert self._read is not None
        watts = self._read()
        self._samples.append((self._meter.clock() - self._start_s, watts))

    def _gained(self, counter: CounterBackend) -> float:
        """Watts since the last look."""
        now_s, now_j = self._meter.clock() - self._start_s, counter.so_far()
        (before_s, before_j), self._last = self._last, (now_s, now_j)
        return (now_j - before_j) / max(now_s - before_s, 1e-9)
