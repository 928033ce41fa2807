"""What an energy source is: it is told when a window begins and says how many joules passed when it
ends."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

__all__ = ["Backend", "Clock", "NullBackend", "ReadingFault", "checked_reading", "describe"]

Clock = Callable[[], float]
"""A monotonic clock in seconds."""


class ReadingFault(Exception):
    """A reading that cannot be trusted; its message is the reason that the window carries."""


class Backend(Protocol):
    """An energy source. `begin` and `end` may raise anything: the meter turns it into `None` with a
    reason.

    `reason` says why nothing is ever measured (`None` for a working source); `resolution_s` is how
    far apart the source's own updates are; `n_units` is how many cards or packages are summed."""

    @property
    def source(self) -> str: ...

    @property
    def reason(self) -> str | None: ...

    @property
    def resolution_s(self) -> float: ...

    @property
    def n_units(self) -> int: ...

    def begin(self) -> None:
        """Start counting, forgetting whatever was counted before."""

    def end(self) -> float:
        """Return the joules since `begin`."""

    def close(self) -> None:
        """Give the source back; never called during a window."""


def checked_reading(value: float, unit: str, at_most: float = math.inf) -> float:
    """Return a reading in `unit` ("J" or "W") as it is; raise `ReadingFault` unless it is from 0 to
    `at_most` and finite."""
    if not (math.isfinite(value) and 0 <= value <= at_most):
        raise ReadingFault(f"the energy source read {value} {unit}, which cannot be")
    return value


def describe(error: BaseException) -> str:
    """Return the reason that an exception stands for; never raises, even if the error's own
    `str` does."""
    try:
        text = str(error)
    except Exception:
        text = ""
    if isinstance(error, ReadingFault):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


class NullBackend:
    """Every window's energy is `None`, with `reason`."""

    source = "null"
    resolution_s = 0.0
    n_units = 0

    def __init__(self, reason: str) -> None:
        self.reason: str | None = reason

    def begin(self) -> None:
        """Nothing to start."""

    def end(self) -> float:
        """Raise `ReadingFault`: there is no reading."""
        raise ReadingFault(self.reason)

    def close(self) -> None:
        """Nothing to give back."""
