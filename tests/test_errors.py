"""How errors read: what is wrong first, then the rule and the remedy."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import clso
from clso.errors import ClsoError

KINDS = {"ClsoError"} | {cls.__name__ for cls in ClsoError.__subclasses__()}


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
    """A phrase would be shown in quotes, as if somebody had given it."""
    phrases = [
        f"{path}:{call.lineno}"
        for path in sorted(Path(clso.__file__).parent.rglob("*.py"))
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id in KINDS
        for keyword in call.keywords
        if keyword.arg == "got" and isinstance(keyword.value, ast.Constant)
        if isinstance(keyword.value.value, str)
    ]
    assert not phrases
