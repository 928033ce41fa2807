"""Comparing measured figures that have a spread: yes, no, or too close to say."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from clso.profiling.measure import Row

__all__ = ["Measured", "all_of", "less", "read", "within"]

_SIGMAS = 2.0


@dataclass(frozen=True)
class Measured:
    """A figure and the standard error of its mean (0 for what is counted, not timed)."""

    value: float
    error: float = 0.0

    def __add__(self, other: Measured) -> Measured:
        return Measured(self.value + other.value, math.hypot(self.error, other.error))

    def __truediv__(self, other: Measured) -> Measured:
        """The ratio; relative errors add in squares (first order, independent)."""
        ratio = self.value / other.value
        return Measured(ratio, abs(ratio) * math.hypot(self.error / self.value, other.error / other.value))


def read(row: Row, quantity: str) -> Measured | None:
    """A field of a row, or "time_s" for forward and backward together; None where it was not measured or is not positive."""
    if quantity == "time_s":
        forward, backward = read(row, "forward_time_s"), read(row, "backward_time_s")
        return None if forward is None or backward is None else forward + backward
    value = getattr(row, quantity)
    if value is None or value <= 0:
        return None
    if quantity not in ("forward_time_s", "backward_time_s"):
        return Measured(float(value))
    std = getattr(row, quantity.replace("_s", "_std_s"))
    # One repetition says nothing about its spread, so nothing is decided from it.
    return Measured(value, math.inf if std is None or not row.n_repeats else std / math.sqrt(row.n_repeats))


def less(a: Measured, b: Measured) -> bool | None:
    """Whether a < b; None where the difference is within two standard errors."""
    margin = _SIGMAS * math.hypot(a.error, b.error)
    if margin and abs(b.value - a.value) <= margin:
        return None
    return a.value < b.value


def within(measured: Measured, wanted: float, share: float) -> bool | None:
    """Whether a figure is within a share of `wanted`; None where two standard errors reach over an end of that range."""
    answers = {
        wanted * (1 - share) <= edge <= wanted * (1 + share)
        for edge in (
            measured.value - _SIGMAS * measured.error,
            measured.value,
            measured.value + _SIGMAS * measured.error,
        )
    }
    return answers.pop() if len(answers) == 1 else None


def all_of(answers: Sequence[bool | None]) -> bool | None:
    """No where one is no; otherwise unknown where one is unknown, or where there are none."""
    if False in answers:
        return False
    return None if None in answers or not answers else True
