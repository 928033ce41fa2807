"""How errors read: what is wrong first, then the rule and the remedy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import clso
from clso.errors import ClsoError

# `require` and `kind` raise what they are given
KINDS = {"ClsoError", "require", "kind"} | {cls.__name__ for cls in ClsoError.__subclasses__()}


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (ClsoError("k is below n"), "k is below n"),
        (ClsoError("k is below n", got=9), "k is below n; got 9"),
        (ClsoError("k is below n", got=9, remedy="Use 3."), "k is below n; got 9. Use 3."),
        (ClsoError("k is below n", problem="k equals n"), "k equals n: k is below n"),
        (ClsoError("k is below n", problem="k equals\nn"), "k equals n: k is below n"),
        (
            ClsoError("k is below n", problem="k equals n", remedy="Use 3."),
            "k equals n: k is below n. Use 3.",
        ),
    ],
)
def test_a_message_says_what_is_wrong_then_the_rule_then_the_remedy(
    error: ClsoError, message: str
) -> None:
    assert str(error) == message


def test_got_is_a_value_never_a_phrase() -> None:
    """A phrase would be shown in quotes, as if somebody had given it: "k is whole; got 'it is cut'"."""
    phrases = [
        f"{path}:{call.lineno}"
        for path in sorted(Path(clso.__file__).parent.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and _called(call) in KINDS
        for keyword in call.keywords
        if keyword.arg == "got" and _is_phrase(keyword.value)
    ]
    assert not phrases


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _is_phrase(value: ast.expr) -> bool:
    """Text that is put together here, or another error's message."""
    if isinstance(value, ast.IfExp | ast.BoolOp):
        parts = value.values if isinstance(value, ast.BoolOp) else [value.body, value.orelse]
        return any(map(_is_phrase, parts))
    if isinstance(value, ast.Constant):
        return isinstance(value.value, str)
    called = value.func if isinstance(value, ast.Call) else None
    return (
        isinstance(value, ast.JoinedStr)
        or (isinstance(called, ast.Attribute) and called.attr == "join")
        or ast.unparse(value) in ("reason", "str(error)", "_text(error)", "type(error).__name__")
    )


@pytest.mark.parametrize(
    ("source", "is_phrase"),
    [
        ("n", False),
        ("str(path)", False),
        ("[name, other]", False),
        ("len(rows)", False),
        ("'none'", True),
        ("f'{n} are missing'", True),
        ("n or 'neither'", True),
        ("a if b else 'other bytes'", True),
        ("', '.join(names)", True),
        ("str(error)", True),
    ],
)
def test_what_counts_as_a_phrase(source: str, is_phrase: bool) -> None:
    assert _is_phrase(ast.parse(source, mode="eval").body) == is_phrase
