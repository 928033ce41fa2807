"""What a space measures: the names, directions and units of the values of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clso.errors import ConfigError

__all__ = ["Direction", "Measure", "as_measures", "sign_of", "turned"]

Direction = Literal["min", "max"]


def turned(value: float, direction: str) -> float:
    """A value as a search and its record hold it, less being better; and back again. Never -0.0."""
    return 0.0 - value if direction == "max" else value


def sign_of(direction: str) -> float:
    """What many values are multiplied with for the same: -1.0 if more is better, else 1.0."""
    return -1.0 if direction == "max" else 1.0


@dataclass(frozen=True)
class Measure:
    """One value that `evaluate` returns for a genome.

    Parameters
    ----------
    name
        As `--objective` and result.json spell it.
    direction
        "min" if less is better, "max" if more is. `evaluate` returns the value as it is; what is
        to be large is negated for the search alone.
    unit
        For people to read; "" if it has none.

    Examples
    --------
    >>> Measure("accuracy", "max", "%").as_minimised(97.5)
    -97.5
    """

    name: str
    direction: Direction = "min"
    unit: str = ""

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name or self.name != self.name.strip():
            raise ConfigError("what is measured has a name", got=self.name)
        if "," in self.name or "=" in self.name:
            raise ConfigError("the name of what is measured has no comma and no =", got=self.name)
        if self.direction not in get_args(Direction):
            raise ConfigError(f"the direction of {self.name} is min or max", got=self.direction)

    def as_minimised(self, value: float) -> float:
        """`value` as the search sees it, less being better; and back again."""
        return turned(value, self.direction)


def as_measures(given: Iterable[Any], what: str) -> tuple[Measure, ...]:
    """Measures, or names of values to be minimised, as measures. Raises `ConfigError` for a name
    that two have, or if there is none."""
    measures = tuple(m if isinstance(m, Measure) else Measure(m) for m in given)
    names = [measure.name for measure in measures]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{what} are one or more, each with a name of its own", got=names)
    return measures
