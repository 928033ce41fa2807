"""NVML's total-energy counter (Volta and later): millijoules since the driver was loaded, for whole
cards."""

from __future__ import annotations

from clso.energy.backend import Clock
from clso.energy.cards import MAX_CARD_W, Cards
from clso.energy.counter import CounterBackend, CounterLimits

__all__ = ["NvmlCounter"]

RESOLUTION_S = 0.1
# Two readings alone would miss a reset after which the counter climbed past where it began.
POLL_S = 1.0


class NvmlCounter(CounterBackend):
    """The sum of the cards' counters; owns `cards`."""

    def __init__(self, cards: Cards, clock: Clock, poll_s: float = POLL_S) -> None:
        limits = CounterLimits(RESOLUTION_S, MAX_CARD_W, poll_s=poll_s)
        super().__init__("nvml", cards.energy_j, limits, clock)
        self.cards = cards

    def close(self) -> None:
        """Give NVML back."""
        self.cards.close()
