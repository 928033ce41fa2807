"""Choices by name, nested or not, as a flat list: what each is chosen from, and under which options
of another."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from numbers import Real
from typing import Any

from clso.conversion import in_order
from clso.errors import ConfigError, SearchWarning
from clso.space.scales import Scale

__all__ = ["Entry", "flattened", "is_scale"]


@dataclass
class Entry:
    """One choice. It is there if the entry at place `selector` takes one of `options`, indices of
    its values; always, if there is none."""

    name: Any
    values: tuple[Any, ...]
    selector: int | None = None
    options: set[int] = field(default_factory=set)


def flattened(named: Mapping[Any, Any]) -> list[Entry]:
    """The choices, each before those under its options. Raises what `Choices` raises."""
    entries: list[Entry] = []
    places: dict[Any, list[int]] = {}  # by name
    _add(named, entries, places, None, 0)
    for name, same in places.items():
        for a, b in combinations(same, 2):
            if not _exclude(entries[a], entries[b], entries):
                raise ConfigError(
                    "a name has one value at a time",
                    problem=f"{name!r} is both outside an option and within it, or within two "
                    "that are taken together",
                    remedy="Give one of them another name.",
                )
    return entries


def _add(
    named: Mapping[Any, Any],
    entries: list[Entry],
    places: dict[Any, list[int]],
    selector: int | None,
    option: int,
) -> None:
    """The choices of an option of the entry at place `selector`."""
    for name, given in named.items():
        is_nested = isinstance(given, Mapping)
        if is_nested:
            _require_options(given, name)
        values = in_order(given, f"the choices of {name!r}")
        if not isinstance(given, (range, Scale)):
            _require_distinct(values, name)
        if isinstance(given, tuple) and _looks_like_a_range(values):
            warnings.warn(
                f"{name!r} has two choices, {values[0]!r} and {values[1]!r}; a range is "
                f"Float({values[0]!r}, {values[1]!r}), and [{values[0]!r}, {values[1]!r}] says "
                "that two are meant",
                SearchWarning,
                stacklevel=4,
            )
        place = _place(name, values, entries, places.setdefault(name, []), selector)
        if selector is not None:
            entries[place].options.add(option)
        if is_nested:
            for i, inner in enumerate(given.values()):
                _add(inner or {}, entries, places, place, i)


def _place(
    name: Any,
    values: tuple[Any, ...],
    entries: list[Entry],
    same: list[int],
    selector: int | None,
) -> int:
    """Of the entry for `name` under any option of the same selector, if it has the same values;
    of a new one otherwise. `same`: places of the entries of this name."""
    for i in same:
        is_sibling = entries[i].selector == selector and selector is not None
        if is_sibling and list(map(_identity, entries[i].values)) == list(map(_identity, values)):
            return i
    same.append(len(entries))
    entries.append(Entry(name, values, selector))
    return same[-1]


def _exclude(a: Entry, b: Entry, entries: Sequence[Entry]) -> bool:
    """Whether no genome has both."""
    first, second = _taken(a, entries), _taken(b, entries)
    return any(first[selector].isdisjoint(second[selector]) for selector in first.keys() & second)


def _taken(entry: Entry, entries: Sequence[Entry]) -> dict[int, set[int]]:
    """Selector -> options of it that must be taken, from the entry up."""
    found: dict[int, set[int]] = {}
    while entry.selector is not None:
        found[entry.selector] = entry.options
        entry = entries[entry.selector]
    return found


def _require_options(given: Mapping[Any, Any], name: Any) -> None:
    for option, inner in given.items():
        if inner is not None and not isinstance(inner, Mapping):
            raise ConfigError(
                f"an option of {name!r} is a dict of its own choices, {{}} if it has none",
                problem=f"option {option!r} is {inner!r}",
                remedy="Give a list if the keys are all there is to choose from.",
            )

    if len(set(map(str, given))) < len(given):
        raise ConfigError(f"the options of {name!r} differ as text", got=list(given))


def _looks_like_a_range(values: tuple[Any, ...]) -> bool:
    return len(values) == 2 and all(type(value) is float for value in values)


def is_scale(values: Sequence[Any]) -> bool:
    """Whether they are three numbers or more, rising or falling."""
    if isinstance(values, range):
        return len(values) > 2
    if len(values) < 3 or not all(
        isinstance(value, Real) and not isinstance(value, bool) for value in values
    ):
        return False
    return all(a < b for a, b in pairwise(values)) or all(a > b for a, b in pairwise(values))


def _require_distinct(values: Sequence[Any], name: Any) -> None:
    """Equal choices would be measured more than once. Those of different types, such as 1 and True,
    are not equal here."""
    seen = set()
    for value in values:
        key = _identity(value)
        if key in seen:
            raise ConfigError(
                f"the choices of {name!r} are distinct", got=value, remedy="Name each of them once."
            )
        seen.add(key)


def _identity(value: Any) -> Hashable:
    try:
        hash(value)
    except TypeError:
        try:
            return pickle.dumps(value)
        except Exception:  # it can neither be hashed nor pickled: nothing is known of it
            return id(value)
    return type(value), value
