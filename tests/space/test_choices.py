"""Choices by name: what a genome stands for is the same at every call and in every process."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest

from clso import minimize
from clso.errors import ConfigError, EvaluationError
from clso.space.choices import Choices


def _named(decoded: Any) -> dict[Any, Any]:
    """What a space of named choices decodes to."""
    assert isinstance(decoded, dict)
    return decoded


@pytest.mark.parametrize(
    "choices",
    [{"a": {1, 2}}, {"a": frozenset("x")}, {3, 4}, {"a": "relu"}, {"a": b"ab"}],
    ids=repr,
)
def test_choices_have_an_order_of_their_own(choices: Any) -> None:
    with pytest.raises(ConfigError):
        Choices(choices)


def test_the_views_of_a_dict_have_one() -> None:
    views: Any = {"a": {"x": 1, "y": 2}.keys()}
    assert Choices(views).decode((1,)) == {"a": "y"}


def test_names_stay_what_they_are_and_none_is_lost() -> None:
    space = Choices({1: [10, 20], "1": [3, 4], ("layer", 0): [8, 16]})
    assert space.decode((1, 0, 1)) == {1: 20, "1": 3, ("layer", 0): 16}
    assert len(space.describe((1, 0, 1))) == 3


@pytest.mark.parametrize(
    "values", [[1, 1, 2], ["x", "x"], [[8], [16], [8]], [np.arange(3), np.arange(3)]], ids=repr
)
def test_equal_choices_are_refused(values: list[Any]) -> None:
    with pytest.raises(ConfigError, match="distinct"):
        Choices({"a": values})


def test_choices_that_differ_in_type_alone_are_kept() -> None:
    space = Choices({"a": [1, True, 1.0, "1"]})
    assert [_named(space.decode((i,)))["a"] for i in range(4)] == [1, True, 1.0, "1"]


def test_what_a_function_does_to_a_choice_is_seen_by_no_other_call() -> None:
    given: list[tuple[int, ...]] = []

    def spoil(x: dict[str, Any]) -> float:
        given.append((*x["layers"], *x["sizes"], *x["pair"][0]))
        x["layers"].append(10)
        x["sizes"] *= 0
        x["pair"][0].clear()
        return float(len(x["layers"]))

    layers = [[8], [16]]
    result = minimize(
        spoil, {"layers": layers, "sizes": [np.array([1, 2])], "pair": [([5], 1)], "n": [0, 1]}, 4
    )
    assert sorted(given) == [(8, 1, 2, 5)] * 2 + [(16, 1, 2, 5)] * 2
    assert layers == [[8], [16]]
    assert result.x["layers"] in layers


def test_a_choice_whose_identity_counts_is_given_as_it_is() -> None:
    marks = [object(), print, int, EvaluationError]
    space = Choices({"a": marks})
    assert [_named(space.decode((i,)))["a"] for i in range(4)] == marks
    assert not any("0x" in label for label in space.genes[0].choices)


def test_memory_grows_like_the_number_of_choices() -> None:
    tracemalloc.start()
    try:
        result = minimize(lambda x: abs(x["row"] - 777), {"row": range(50_000)}, 40, seed=0)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(result.evaluations) == 40
    assert peak < 100e6
