"""Numbers to choose from, given by their range."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, overload

from clso.conversion import as_float, as_index
from clso.errors import ConfigError

__all__ = ["Float", "Int", "Scale"]

_STEPS = 20


class Scale(Sequence[Any]):
    """Numbers in rising order, for `clso.space.choices.Choices`: genes are discrete, so a range
    becomes a grid."""

    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self.values[index]

    def __repr__(self) -> str:
        ends = f"{self.values[0]!r}, {self.values[-1]!r}"
        return f"<{type(self).__name__}: {len(self)} values from {ends}>"


class Float(Scale):
    """`steps` numbers from `low` to `high`, both included, evenly spaced; with `log`, their
    logarithms are. Rounded to six digits.

    Raises
    ------
    ConfigError
        Ends that are no finite numbers or not in rising order, a logarithm of a number that is not
        positive, fewer than two steps or more than six digits tell apart.

    Examples
    --------
    >>> list(Float(0.001, 1, log=True, steps=4))
    [0.001, 0.01, 0.1, 1.0]
    """

    def __init__(self, low: float, high: float, *, log: bool = False, steps: int = _STEPS) -> None:
        low, high = _ends(as_float(low, "low"), as_float(high, "high"), log)
        steps = as_index(steps, "steps", least=2)
        self.values = tuple(float(f"{v:.6g}") for v in _spread(low, high, log, steps))
        if len(set(self.values)) < steps:
            raise ConfigError(
                "the steps of a Float differ in their first six digits",
                problem=f"{steps} steps from {low:g} to {high:g} do not",
                remedy="Ask for fewer.",
            )


class Int(Scale):
    """Whole numbers from `low` to `high`, both included: all of them; with `steps`, that many,
    evenly spaced; with `log`, `steps` (20) whose logarithms are evenly spaced. Numbers that round
    to the same count once.

    Raises
    ------
    ConfigError
        Ends that are not whole or not in rising order, a logarithm of a number that is not
        positive, fewer than two steps.

    Examples
    --------
    >>> list(Int(1, 64, log=True, steps=7)), list(Int(0, 3))
    ([1, 2, 4, 8, 16, 32, 64], [0, 1, 2, 3])
    """

    def __init__(self, low: int, high: int, *, log: bool = False, steps: int | None = None) -> None:
        low, high = as_index(low, "low"), as_index(high, "high")
        _ends(low, high, log)
        if steps is None and not log:
            self.values = tuple(range(low, high + 1))
            return
        steps = _STEPS if steps is None else as_index(steps, "steps", least=2)
        # Twelve digits: far fewer than a last bit of a power decides, whatever the machine.
        spread = (round(float(f"{v:.12g}")) for v in _spread(low, high, log, steps))
        self.values = tuple(dict.fromkeys(spread))


def _ends(low: float, high: float, log: bool) -> tuple[float, float]:
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise ConfigError("a range goes from a lower to a higher number", got=(low, high))
    if log and low <= 0:
        raise ConfigError("a logarithmic range begins above 0", got=low)
    return low, high


def _spread(low: float, high: float, log: bool, steps: int) -> list[float]:
    shares = [i / (steps - 1) for i in range(steps)]
    if log:
        inner = [low * (high / low) ** share for share in shares[1:-1]]
    else:
        inner = [low + (high - low) * share for share in shares[1:-1]]
    return [low, *inner, high]
