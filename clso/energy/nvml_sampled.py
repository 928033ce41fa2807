"""NVML's power, sampled on a thread: for cards without an energy counter."""

from __future__ import annotations

import math

from clso.energy.backend import Clock, ReadingFault, checked_reading
from clso.energy.cards import MAX_CARD_W, Cards
from clso.energy.sampler import PeriodicSampler

__all__ = ["MAX_GAP_S", "NvmlSampled", "PowerIntegral"]

PERIOD_S = 0.04


# NVML's power is an average over up to 1 s on recent cards, so samples further apart leave time
# nobody saw.
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
            ReadingFault: more than `max_gap_s` passed since the last one, or it is negative, above
            `max_w` or no number.
        """
        checked_reading(power_w, "W", self._max_w)
        if self._last is not None:
            last_s, last_w = self._last
            gap_s = time_s - last_s
            if gap_s > self._max_gap_s:
                raise ReadingFault(
                    f"no power sample for {gap_s:.2f} s (at most {self._max_gap_s:.2f} s is allowed)"
                )
            self.energy_j += 0.5 * (last_w + power_w) * gap_s
        self._last = (time_s, power_w)


class NvmlSampled:
    """The trapezoid integral of the cards' summed power, at 25 samples a second; owns `cards`."""

    source = "nvml-sampled"
    reason: str | None = None
    # From Ampere on the power reading is an average over the last second, so a shorter window sees
    # its past.
    resolution_s = 1.0

    def __init__(self, cards: Cards, clock: Clock, period_s: float = PERIOD_S) -> None:
        self._cards, self._clock, self._period_s = cards, clock, period_s
        self.n_units = len(cards.power_w())
        self._integral = self._new_integral()
        self._sampler: PeriodicSampler | None = None

    def begin(self) -> None:
        """Take the first sample and start the thread."""
        self._integral = self._new_integral()
        self._sample()
        self._sampler = PeriodicSampler(self._sample, self._period_s)
        self._sampler.start()

    def end(self) -> float:
        """Take the last sample and return the joules since `begin`.

        Raises:
            ReadingFault: a sample failed or cannot be, or two were too far apart.
        """
        if self._sampler is not None:
            sampler, self._sampler = self._sampler, None
            sampler.stop()
        self._sample()
        return self._integral.energy_j

    def close(self) -> None:
        """Give NVML back."""
        self._cards.close()

    def _new_integral(self) -> PowerIntegral:
        return PowerIntegral(max_w=MAX_CARD_W * self.n_units)

    def _sample(self) -> None:
        power_w = sum(self._cards.power_w())
        self._integral.add(self._clock(), power_w)
