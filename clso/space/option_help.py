"""What the options of a space or task mean: the text that stands below each field of the
dataclass."""

from __future__ import annotations

import ast
import inspect
import itertools
import textwrap
from dataclasses import dataclass, fields
from typing import Any

__all__ = ["OptionHelp", "describe_options"]


@dataclass(frozen=True)
class OptionHelp:
    """One option: `help` is the string below its field, "" if there is none."""

    name: str
    type: str
    default: Any
    help: str


def describe_options(kind: type) -> list[OptionHelp]:
    """The fields of an `Options` dataclass, in order, those that it inherits first."""
    texts: dict[str, str] = {}
    for base in reversed(kind.__mro__[:-1]):
        texts |= _field_texts(base)
    return [
        OptionHelp(f.name, type(f.default).__name__, f.default, texts.get(f.name, ""))
        for f in fields(kind)
    ]


def _field_texts(kind: type) -> dict[str, str]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):  # its source is not at hand
        return {}
    body = tree.body[0].body if isinstance(tree.body[0], ast.ClassDef) else []
    found = {}
    for statement, following in itertools.pairwise(body):
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        text = getattr(getattr(following, "value", None), "value", None)
        if isinstance(following, ast.Expr) and isinstance(text, str):
            found[statement.target.id] = " ".join(text.split())
    return found
