"""Energy from power samples, by the trapezoid rule."""

from __future__ import annotations

import math

from clso.energy.backend import ReadingFault, checked_reading

__all__ = ["MAX_GAP_S", "PowerIntegral"]

# NVML's power is an average over up to 1 s on recent cards, so samples further apart leave time nobody saw.
MAX_GAP_S = 1.0


class PowerIntegral:
    """Adds up power samples as they come; memory does not grow with the window."""

    def __init__(self, max_gap_s: float = MAX_GAP_S, max_w: float = math.inf) -> None:
        self.energy_j = 0.0
        self._max_gap_s = max_gap_s
        self._max_w = max_w
        self._last: tuple[float, float] | None = None

    def add(self, time_s: float, power_w: float) -> None:
        """Add one sample.

        Raises:
            ReadingFault: more than `max_gap_s` passed since the last one, or it is negative, above `max_w` or no number.
        """
        checked_reading(power_w, "W", self._max_w)
        if self._last is not None:
            last_s, last_w = self._last
            gap_s = time_s - last_s
            if gap_s > self._max_gap_s:
                raise ReadingFault(f"no power sample for {gap_s:.2f} s (at most {self._max_gap_s:.2f} s is allowed)")
            self.energy_j += 0.5 * (last_w + power_w) * gap_s
        self._last = (time_s, power_w)
