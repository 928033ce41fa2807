from __future__ import annotations

import statistics

import pytest

from clso.errors import DataError
from clso.tasks.base import load_task
from clso.tasks.listops import TOKENS, evaluate


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("7", 7),
        ("[MAX 2 9 [MIN 4 7 ] 0 ]", 9),  # the example of the Long Range Arena's paper
        ("[MIN 2 9 3 ]", 2),
        ("[SM 7 8 9 ]", 4),
        ("[MED 1 9 4 ]", 4),
        ("[MED 1 4 ]", 2),  # 2.5, rounded down
        ("[MED 3 9 1 4 ]", 3),
        ("[MED 5 5 5 1 1 ]", 5),
        ("[SM [MED 1 2 3 ] [MAX 9 [SM 5 6 ] ] ]", 1),
    ],
)
def test_by_hand(text: str, value: int) -> None:
    assert evaluate(text.split()) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[MAX 1 2",
        "1 2",
        "[MAX ]",
        "1 ]",
        "[AVG 1 2 ]",
        "[MAX 12 1 ]",
        "( 1 )",
        "[MAX [MIN ] 1 ]",
    ],
)
def test_what_is_no_expression(text: str) -> None:
    with pytest.raises(DataError, match="a ListOps expression"):
        evaluate(text.split())


def by_python(text: str) -> int:
    """A third reckoning: the expression as a program."""
    code = text.replace("]", "])").replace(" ", ",").replace(",])", "])")
    for operator in ("MAX", "MIN", "MED", "SM"):
        code = code.replace(f"[{operator},", f"{operator}([")
    names = {
        "MAX": max,
        "MIN": min,
        "MED": lambda v: int(statistics.median(v)),
        "SM": lambda v: sum(v) % 10,
    }
    return int(eval(code, names))


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("listops", {"n_train": 500}), ("listops-lra", {"n_train": 20}), ("listops", {"max_args": 9})],
)
def test_labels_are_values_and_the_grammar_keeps_its_limits(
    name: str, sizes: dict[str, int]
) -> None:
    task = load_task(name, {"n_train": 300, "n_valid": 1, "n_test": 1, **sizes})
    options, train = task.options, task.split("train")
    seen: set[str | int] = set()
    for row, label in zip(train.tokens, train.targets, strict=True):
        text = task.text(row)
        tokens = text.split()
        assert evaluate(tokens) == by_python(text) == label
        assert options.min_length < len(tokens) < options.max_length
        depth = deepest = 0
        arguments: list[int] = [0]
        for token in tokens:
            if token == "]":
                n = arguments.pop()
                assert 2 <= n <= options.max_args
                seen.add(n)
                depth -= 1
            else:
                arguments[-1] += 1
                if token.startswith("["):
                    arguments.append(0)
                    depth += 1
                    seen.add(token)
            deepest = max(deepest, depth)
        assert deepest <= options.max_depth - 1  # the deepest nodes are digits
    assert seen == {"[MAX", "[MIN", "[MED", "[SM", *range(2, options.max_args + 1)}


def test_the_arenas_defaults() -> None:
    options = load_task("listops-lra").options
    assert (options.n_train, options.n_valid, options.n_test) == (96_000, 2_000, 2_000)
    assert (options.max_depth, options.max_args, options.min_length, options.max_length) == (
        10,
        10,
        500,
        2000,
    )
    assert len(TOKENS) == 16
