"""What JSON has to be, stated by its reader: kinds of values, and tables of them.

A check is a function of a value and its place, which raises `ValueError` if the value is of another
kind."""

from __future__ import annotations

import math
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields
from typing import Any, Literal

__all__ = [
    "Check",
    "by_name",
    "count",
    "flag",
    "is_number",
    "kind",
    "list_of",
    "number",
    "of_dataclass",
    "one_of",
    "or_none",
    "plain",
    "table",
    "text",
]

Check = Callable[[Any, str], None]


def kind(name: str, test: Callable[[Any], bool]) -> Check:
    """Values that pass a test, called `name`."""

    def check(value: Any, at: str) -> None:
        if not test(value):
            shown = repr(value)
            raise ValueError(
                f"{at} is {name}, not {shown if len(shown) <= 60 else shown[:57] + '...'}"
            )

    return check


def is_number(value: Any) -> bool:
    """Whether it is finite, and no bool."""
    return type(value) in (int, float) and abs(value) < 1e300 and math.isfinite(value)


number = kind("a finite number", is_number)
count = kind(
    "a whole number that is not negative", lambda value: type(value) is int and 0 <= value < 2**63
)
text = kind("a text", lambda value: type(value) is str)
flag = kind("true or false", lambda value: type(value) is bool)
plain = kind(
    "a text or a number",
    lambda value: type(value) in (str, bool) or value is None or is_number(value),
)


def one_of(*values: str) -> Check:
    """Some texts only."""
    return kind(f"one of {', '.join(values)}", lambda value: value in values)


def or_none(check: Check) -> Check:
    """None as well."""
    return lambda value, at: None if value is None else check(value, at)


def list_of(check: Check) -> Check:
    """A list of values of one kind."""

    def each(value: Any, at: str) -> None:
        kind("a list", lambda v: type(v) is list)(value, at)
        for i, item in enumerate(value):
            check(item, f"{at}[{i}]")

    return each


def by_name(check: Check, *required: str) -> Check:
    """Names that are not known before, with values of one kind."""

    def each(value: Any, at: str) -> None:
        table(dict.fromkeys(required, check))(value, at)
        for key, item in value.items():
            check(item, f"{at}.{key}")

    return each


def table(required: Mapping[str, Check], optional: Mapping[str, Check] | None = None) -> Check:
    """Known names; others may hold anything."""

    def each(value: Any, at: str) -> None:
        kind("a table", lambda v: type(v) is dict)(value, at)
        for key, check in required.items():
            if key not in value:
                raise ValueError(f"{at} has {key}")
            check(value[key], f"{at}.{key}")
        for key, check in (optional or {}).items():
            if key in value:
                check(value[key], f"{at}.{key}")

    return each


def of_dataclass(of: type[Any]) -> Check:
    """A dataclass's fields as JSON, each of its annotation's kind, and no others."""
    hints = typing.get_type_hints(of)
    checks = {f.name: _of_hint(hints[f.name]) for f in fields(of)}
    needed = {f.name for f in fields(of) if f.default is MISSING and f.default_factory is MISSING}
    known = table(
        {name: check for name, check in checks.items() if name in needed},
        {name: check for name, check in checks.items() if name not in needed},
    )

    def each(value: Any, at: str) -> None:
        known(value, at)
        for key in value:
            if key not in checks:
                raise ValueError(f"{at} has no {key}")

    return each


def _of_hint(hint: Any) -> Check:
    """An annotation's values, as JSON has them."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return or_none(_of_hint(next(one for one in inner if one is not type(None))))
    if origin is Literal:
        return one_of(*inner)
    if origin in (list, tuple):
        return list_of(_of_hint(inner[0]))
    if origin is dict:
        return by_name(_of_hint(inner[1]))
    return {int: count, float: number, str: text, bool: flag}[hint]
