"""JSON and TOML that a user, or anybody, may have written: what cannot be read is a `ValueError`,
whatever it is."""

from __future__ import annotations

import json
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["parse_json", "parse_toml"]

_MAX_DEPTH = 50  # far more than any file of ours; readers may recurse into what they are given
_TOO_DEEP = f"it is nested more than {_MAX_DEPTH} levels deep"


def parse_json(text: str | bytes) -> Any:
    """The value. Raises `ValueError` for what is no JSON, no UTF-8, nested too deeply or has a
    number without end."""
    try:
        return _shallow(json.loads(text))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None


def parse_toml(text: str) -> dict[str, Any]:
    """The table. Raises `ValueError` for what is no TOML, nested too deeply or has a number without
    end."""
    try:
        values: dict[str, Any] = _shallow(tomllib.loads(text))
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return values


def _shallow(value: Any) -> Any:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (
                outer.values()
                if isinstance(outer, dict)
                else outer
                if isinstance(outer, list)
                else ()
            )
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return value
    raise ValueError(_TOO_DEEP)
