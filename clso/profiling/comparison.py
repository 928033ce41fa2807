"""Comparing measured figures that have a spread: yes, no, or too close to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy.stats import t

from clso.profiling.measure import Row

__all__ = ["Measured", "all_of", "less", "read", "within"]

_CONFIDENCE = 0.95


@dataclass(frozen=True)
class Measured:
    """A figure and half the width of its 95 % interval (0 for what is counted, not timed)."""

    value: float
    error: float = 0.0

    def __add__(self, other: Measured) -> Measured:
        return Measured(self.value + other.value, math.hypot(self.error, other.error))

    def __truediv__(self, other: Measured) -> Measured:
        """The ratio; relative errors add in squares (first order, independent)."""
        ratio = self.value / other.value
        return Measured(
            ratio, abs(ratio) * math.hypot(self.error / self.value, other.error / other.value)
        )


def read(row: Row, quantity: str) -> Measured | None:
    """A field of a row, or "time_s" for forward and backward together; None if it was not
    measured or is not positive."""
    if quantity == "time_s":
        forward, backward = read(row, "forward_time_s"), read(row, "backward_time_s")
        return None if forward is None or backward is None else forward + backward
    value = getattr(row, quantity)
    if value is None or value <= 0:
        return None
    if quantity not in ("forward_time_s", "backward_time_s"):
        return Measured(float(value))
    std = getattr(row, quantity.replace("_s", "_std_s"))
    if std is None or row.n_repeats is None or row.n_repeats < 2:
        # one repetition says nothing about its spread: nothing is decided from it
        return Measured(value, math.inf)
    # Student's t, since a few repetitions know their own spread badly.
    return Measured(
        value,
        float(t.ppf((1 + _CONFIDENCE) / 2, row.n_repeats - 1)) * std / math.sqrt(row.n_repeats),
    )


def less(a: Measured, b: Measured) -> bool | None:
    """Whether a < b; None if the difference is within its interval."""
    margin = math.hypot(a.error, b.error)
    if margin and abs(b.value - a.value) <= margin:
        return None
    return a.value < b.value


def within(measured: Measured, wanted: float, share: float) -> bool | None:
    """Whether a figure is within a share of `wanted`; None if its interval is neither inside
    that range nor outside."""
    low, high = measured.value - measured.error, measured.value + measured.error
    least, most = wanted * (1 - share), wanted * (1 + share)
    if least <= low and high <= most:
        return True
    return False if high < least or low > most else None


def all_of(answers: Sequence[bool | None]) -> bool | None:
    """No if one is no; otherwise unknown if one is unknown, or if there are none."""
    if False in answers:
        return False
    return None if None in answers or not answers else True
