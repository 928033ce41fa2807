"""NVML's power, sampled on a thread: for cards without an energy counter."""

from __future__ import annotations

from clso.energy.backend import Clock
from clso.energy.cards import MAX_CARD_W, Cards
from clso.energy.power import PowerIntegral
from clso.energy.sampler import PeriodicSampler

__all__ = ["NvmlSampled"]

PERIOD_S = 0.04


class NvmlSampled:
    """The trapezoid integral of the cards' summed power, at 25 samples a second; owns `cards`."""

    source = "nvml-sampled"
    reason: str | None = None
    # From Ampere on the power reading is an average over the last second, so a shorter window sees its past.
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
