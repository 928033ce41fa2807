"""Damage to folders at rest, for tests that say what readers make of it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["WRONG", "flip_bit", "leaves", "replaced", "without_checksums"]

WRONG: tuple[Any, ...] = (None, True, -1, 3, 1e400, "many", [], {}, [[1]], {"a": None})
"""Values of every JSON kind."""


def flip_bit(path: Path, bit: int) -> None:
    data = bytearray(path.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def without_checksums(folder: Path) -> None:
    """Make the folder one of a version of CLSO that wrote none."""
    (folder / "SHA256SUMS").unlink()
    result = json.loads((folder / "result.json").read_text())
    del result["checksums"]
    (folder / "result.json").write_text(json.dumps(result))


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where in nested JSON something stands: tables and lists, and what is in them."""
    yield path
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, (*path, key))
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from leaves(inner, (*path, i))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy with another value at `path`."""
    if not path:
        return new
    copy = json.loads(json.dumps(value))
    at = copy
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = new
    return copy
