"""What users, their functions and their spaces hand over, as Python's own numbers: the one place
where that is decided.

A number may come from anywhere: numpy, torch, `fractions`, `decimal`, an array that holds just one.
Text is none, though `float("3.5")` would take it. Beyond this module numbers are `int` and `float`,
so that a state is JSON and a genome hashes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Reversible, Set
from contextlib import suppress
from typing import Any

import numpy as np

from clso.errors import ClsoError, ConfigError

__all__ = [
    "as_float",
    "as_floats",
    "as_index",
    "as_json",
    "as_seed",
    "in_order",
    "plain",
    "random_state",
]


def plain(value: Any) -> Any:
    """A scalar of numpy or torch, or an array of one item, as the Python object that it holds; all
    else as it is."""
    if hasattr(value, "shape") and hasattr(value, "item"):
        try:
            return value.item()
        except (ValueError, RuntimeError, TypeError):  # it holds several
            pass
    return value


def as_float(value: Any, what: str, error: type[ClsoError] = ConfigError) -> float:
    """`value` as a float, infinite if it is too large for one. Raises `error`, which says that
    `what` is a number."""
    if type(value) is float:
        return value
    number = plain(value)
    if hasattr(type(number), "__float__") or hasattr(type(number), "__index__"):
        try:
            return float(number)
        except OverflowError:
            return math.inf if number > 0 else -math.inf
        except (TypeError, ValueError):
            pass
    raise error(f"{what} is a number", got=_given(value))


def as_floats(values: Any, what: str, error: type[ClsoError] = ConfigError) -> tuple[float, ...]:
    """A sequence or an array of numbers as floats. Raises `error` if `what` is something
    else."""
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise error(f"{what} are a sequence of numbers", got=_given(values))
    try:
        items = list(values)
    except TypeError as cause:  # an array of no dimension says only now that it is none
        raise error(f"{what} are a sequence of numbers", got=values) from cause
    return tuple(as_float(item, f"each of {what}", error) for item in items)


def as_index(
    value: Any, what: str, error: type[ClsoError] = ConfigError, *, least: int | None = None
) -> int:
    """`value` as an int, if it is whole and not below `least`. Raises `error` if `what` is
    something else."""
    number = plain(value)
    whole: int | None = None
    if hasattr(type(number), "__index__") or hasattr(type(number), "__float__"):
        with suppress(TypeError, ValueError, OverflowError):
            whole = int(number)
    if whole is not None and whole == number and least is not None and whole < least:
        raise error(f"{what} is at least {least}", got=whole)
    if whole is None or whole != number:
        raise error(
            f"{what} is a whole number{'' if least is None else f', at least {least}'}",
            got=_given(value),
        )
    return whole


def as_seed(value: Any) -> int:
    """A seed, of any size. Raises `ConfigError`."""
    return as_index(value, "a seed", least=0)


def as_json(value: Any, what: str, error: type[ClsoError] = ConfigError) -> Any:
    """`value` in JSON's types, arrays as lists. Raises `error` if `what` holds something else,
    such as NaN."""
    value = plain(value)
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, Mapping):
        return {str(key): as_json(item, what, error) for key, item in value.items()}
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return [as_json(item, what, error) for item in value]
    if hasattr(type(value), "__index__"):
        return int(value)
    number = as_float(value, f"each value in {what}", error)
    if not math.isfinite(number):
        raise error(f"each number in {what} is finite", got=number)
    return number


def in_order(values: Any, what: str) -> tuple[Any, ...]:
    """`values` as a tuple. Raises `ConfigError` for a set, whose order differs between processes,
    and for text."""
    if isinstance(values, (str, bytes)):
        raise ConfigError(
            f"{what} are a sequence", got=values, remedy=f"A single one is [{values!r}]."
        )
    # the views of a dict have an order
    if isinstance(values, Set) and not isinstance(values, Reversible):
        raise ConfigError(
            f"{what} come in an order of their own",
            got=type(values).__name__,
            remedy="Give a list: sorted(...), say.",
        )
    try:
        return tuple(values)
    except TypeError as error:
        raise ConfigError(f"{what} are a sequence", got=values) from error


def _given(value: Any) -> Any:
    return "None" if value is None else value  # of errors, None means that there is nothing to show


def random_state(seed: int) -> int:
    """A seed of any size as one that scikit-learn takes: itself below 2^32, a hash of it
    otherwise."""
    return seed if seed < 2**32 else int(np.random.SeedSequence(seed).generate_state(1)[0])
