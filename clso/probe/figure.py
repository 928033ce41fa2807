"""A measured figure, or the reason why there is none; and what several seeds make of one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from clso.prove.statistics import describe

__all__ = ["Figure", "Figures", "missing", "over_seeds"]


@dataclass(frozen=True)
class Figure:
    """One metric of one model.

    Attributes:
        value: None if it was not measured; only then there is a `reason`.
        spread: over seeds: n, mean, std, and a bootstrap interval of the mean.
        detail: what the value is a summary of: points of a curve, chance, counts; JSON types.
    """

    value: float | None
    reason: str | None = None
    spread: dict[str, float] | None = None
    detail: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """A value that is no finite number was not measured."""
        if self.value is not None and not math.isfinite(self.value):
            object.__setattr__(self, "reason", self.reason or f"it is {self.value}")
            object.__setattr__(self, "value", None)


Figures = dict[str, Figure]


def missing(names: Sequence[str], reason: str) -> Figures:
    """None of the metrics `names`, all for one reason."""
    return {name: Figure(None, reason) for name in names}


def over_seeds(found: Sequence[Mapping[str, Figure]]) -> Figures:
    """The mean of each metric over the seeds that have it, with its spread; details are the first
    seed's."""
    merged: Figures = {}
    for name, first in found[0].items():
        values = [one[name].value for one in found]
        known = [value for value in values if value is not None]
        if len(found) == 1 or not known:
            merged[name] = first
            continue
        spread = describe(known)
        merged[name] = Figure(spread["mean"], spread=spread, detail=first.detail)
    return merged
