"""The criteria of success, who meets them, and the sentence that says so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["CRITERIA", "OWN_CRITERIA", "Criterion", "criteria_met", "measured", "verdict_sentence"]


@dataclass(frozen=True)
class Criterion:
    """Bounds on CLSO against a baseline: the ratio of their losses, the share of the energy that is
    saved, and the speed-up.

    A `loss_at_most` of 1 asks for a lower loss, not an equal one. `energy_saved` is exceeded, or
    with `or_equal` reached. No `speed_up`: the speed is free."""

    name: str
    loss_at_most: float
    energy_saved: float
    speed_up: float | None = None
    or_equal: bool = False

    def is_met(self, loss_ratio: float, energy_saved: float | None, speed_up: float | None) -> bool:
        """Figures that are None were not measured, and meet nothing."""
        if energy_saved is None or (self.speed_up is not None and speed_up is None):
            return False
        better = loss_ratio < 1 if self.loss_at_most == 1 else loss_ratio <= self.loss_at_most
        saved = energy_saved > self.energy_saved or (
            self.or_equal and energy_saved == self.energy_saved
        )
        fast = self.speed_up is None or speed_up is None or speed_up >= self.speed_up
        return bool(better and saved and fast)


CRITERIA = (
    Criterion("minimum", 1.20, 0.50),
    Criterion("expected", 1.10, 0.60, 4.0),
    Criterion("exceptional", 1.00, 0.70, 5.0),
)
"""The mission's."""
OWN_CRITERIA = (
    Criterion("must", 1.0, 0.5, or_equal=True),
    Criterion("own_bar", 1.0, 0.8, or_equal=True),
)
"""This project's own, in a proof."""


def criteria_met(
    criteria: Iterable[Criterion],
    loss_ratio: float,
    energy_saved: float | None,
    speed_up: float | None,
) -> dict[str, bool]:
    """By a criterion's name, whether it is met."""
    return {c.name: c.is_met(loss_ratio, energy_saved, speed_up) for c in criteria}


def measured(joules: float | None) -> bool:
    """Whether this can be what something cost: nothing costs 0 J, or less."""
    return joules is not None and 0 < joules < math.inf


def verdict_sentence(verdict: Mapping[str, Any]) -> str:
    """A verdict of `compare_runs` in words: what was measured, then what is claimed."""
    worse = (verdict["loss_ratio"] - 1) * 100
    text = f"Against {verdict['against']}: loss {abs(worse):.1f} % {'higher' if worse > 0 else 'lower'}"
    if verdict["energy_saved"] is not None:
        text += f", energy saved {verdict['energy_saved'] * 100:.1f} %"
    if verdict["speed_up"] is not None:
        text += f", {verdict['speed_up']:.3g} times the speed"
    met = ", ".join(verdict["criteria_met"]) or "none"
    return f"{text}. {verdict['reason'] or f'criteria met: {met}'}"
