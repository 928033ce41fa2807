"""Family parameters: defaults filled in, types checked, one canonical form that seeds are keyed
by."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping

from clso.errors import ConfigError, did_you_mean

__all__ = ["ParamValue", "Params", "check_shape", "require", "resolve_params"]

ParamValue = int | float | bool | str
Params = Mapping[str, ParamValue]


def require(ok: bool, rule: str, *, got: object, remedy: str) -> None:
    """Raise `ConfigError` unless `ok`."""
    if not ok:
        raise ConfigError(rule, got=got, remedy=remedy)


def check_shape(shape: object) -> tuple[int, int]:
    """`shape` as two positive Python ints.

    Raises:
        ConfigError: anything else.
    """
    try:
        d_out, d_in = (operator.index(size) for size in shape)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        d_out = d_in = 0
    require(
        d_out >= 1 and d_in >= 1,
        "a crystal's shape is (d_out, d_in), two integers of at least 1",
        got=shape,
        remedy="Give for example (128, 128).",
    )
    return d_out, d_in


def resolve_params(family: str, defaults: Params, given: Params | None) -> dict[str, ParamValue]:
    """`given` over `defaults`, each value converted to its default's type.

    Raises:
        ConfigError: an unknown name, or a value of another type.
    """
    resolved = dict(defaults)
    for name, value in (given or {}).items():
        if name not in defaults:
            raise ConfigError(
                f"crystal family {family!r} has no parameter of this name",
                got=name,
                remedy=did_you_mean(name, defaults, f"Known: {', '.join(sorted(defaults))}."),
            )
        resolved[name] = _as_type_of(defaults[name], value, f"{family}.{name}")
    return resolved


def _as_type_of(default: ParamValue, value: object, where: str) -> ParamValue:
    wanted = type(default)
    if wanted is float and not isinstance(value, (bool, str)):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
    elif wanted is int and not isinstance(value, bool):  # True is an int to operator.index
        try:
            return operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            pass
    elif type(value) is wanted:
        return value
    kind = {float: "a finite number", int: "an integer", bool: "true or false", str: "a string"}[
        wanted
    ]
    raise ConfigError(
        f"crystal parameter {where} is {kind}", got=value, remedy=f"The default is {default!r}."
    )
