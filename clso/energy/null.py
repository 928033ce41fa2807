"""The source that measures nothing and says why."""

from __future__ import annotations

from clso.energy.backend import ReadingFault

__all__ = ["NullBackend"]


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
