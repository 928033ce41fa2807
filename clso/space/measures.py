"""What a space measures: the names, directions and units of the values of an evaluation."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from clso.errors import ConfigError

__all__ = ["Direction", "Measure", "as_measures"]

Direction = Literal["min", "max"]


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
        return value if self.direction == "min" else 0.0 - value  # never -0.0


def as_measures(given: Iterable[Any], what: str) -> tuple[Measure, ...]:
    """Measures, or names of values to be minimised, as measures. Raises `ConfigError` for a name
    that two have, or if there is none."""
    measures = tuple(m if isinstance(m, Measure) else Measure(m) for m in given)
    names = [measure.name for measure in measures]
    if not names or len(set(names)) < len(names):
        raise ConfigError(f"{what} are one or more, each with a name of its own", got=names)
    return measures
