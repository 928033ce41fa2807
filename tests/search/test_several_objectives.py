"""`minimize` and `Optimizer` with several objectives, and with calls that fail."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from clso import Measure, Optimizer, minimize
from clso.errors import ClsoError, ConfigError, EvaluationError

BITS = {f"b{i}": (0, 1) for i in range(8)}
NAMES = ("leading", "trailing")


def both(x: dict[str, int]) -> tuple[int, int]:
    """Leading ones and trailing zeros, of which each takes from the other."""
    text = "".join(map(str, x.values()))
    return len(text) - len(text.lstrip("1")), len(text) - len(text.rstrip("0"))


@pytest.mark.parametrize("surrogate", [None, "ridge"])
def test_the_front_is_found_and_shown_as_it_was_measured(surrogate: str | None) -> None:
    objectives = [Measure(name, "max") for name in NAMES]
    found = minimize(both, BITS, 200, objectives=objectives, surrogate=surrogate, seed=1)
    front = [tuple(values.values()) for _, values in found.front]
    assert front == [(float(k), float(8 - k)) for k in range(8, -1, -1)]
    assert all(both(x) == tuple(values.values()) for x, values in found.front)
    assert (found.value, dict(found.values)) == (8.0, {"leading": 8.0, "trailing": 0.0})
    assert found.x == dict.fromkeys(BITS, 1)
    assert len({e.genome for e in found.evaluations}) == 200
    assert all(value <= 0 for e in found.evaluations for value in e.values)


@pytest.mark.parametrize(
    "shape", [tuple, list, np.array, lambda v: dict(zip(NAMES, v, strict=True))]
)
def test_values_come_in_order_or_by_name(shape: Any) -> None:
    found = minimize(lambda x: shape([x["a"], -x["a"]]), {"a": range(5)}, 5, objectives=NAMES)
    assert [dict(values) for _, values in found.front] == [
        {"leading": float(a), "trailing": -float(a)} for a in range(5)
    ]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (1.0, "are a sequence of numbers"),
        ((1.0, 2.0, 3.0), "is 2 numbers: leading, trailing"),
        ({"leading": 1.0, "trialing": 2.0}, "Did you mean 'trialing'?"),
        (("a", "b"), "is a number"),
    ],
)
def test_other_answers_are_refused_by_name(value: Any, message: str) -> None:
    with pytest.raises(ConfigError, match="what <lambda> returns") as caught:
        minimize(lambda x: value, BITS, 5, objectives=NAMES)
    assert message in str(caught.value)
    optimizer = Optimizer(BITS, objectives=NAMES)
    with pytest.raises(EvaluationError):
        optimizer.tell(optimizer.ask()[0], value)
    assert optimizer.n_evaluated == 0


@pytest.mark.parametrize("objectives", [(), ("a", "a"), "ab", ("a,b",), ("a", " b"), {"a", "b"}])
def test_objectives_have_names_of_their_own(objectives: Any) -> None:
    with pytest.raises(ClsoError):
        Optimizer(BITS, objectives=objectives)


def test_one_that_is_to_be_large() -> None:
    found = minimize(
        lambda x: sum(x.values()), BITS, 256, objectives=[Measure("ones", "max")], surrogate=None
    )
    assert (found.value, found.values) == (8.0, {"ones": 8.0})


def test_a_state_goes_on_as_it_would_have() -> None:
    first = Optimizer(BITS, objectives=NAMES, surrogate="ridge", seed=3)
    for genome in first.ask(40):
        first.tell(genome, both(first.decode(genome)))
    second = Optimizer(BITS, objectives=NAMES, surrogate="ridge", seed=3)
    second.load_state_dict(first.state_dict())
    assert second.ask(20) == first.ask(20)
    assert second.front == first.front


class Unlucky(Exception):
    pass


def unlucky(x: dict[str, int]) -> int:
    if x["b0"]:
        raise Unlucky(f"with {sum(x.values())}")
    return sum(x.values())


def test_candidates_whose_call_raises_are_failures_and_the_search_goes_on() -> None:
    seen: list[str] = []
    found = minimize(
        unlucky, BITS, 100, catch=(Unlucky,), callback=lambda _, e: seen.append(e.status)
    )
    assert found.value == 0.0
    assert len(found.evaluations) == 100
    assert found.failures
    assert seen.count("failed") == len(found.failures)
    assert all(e.genome[0] == 1 for e in found.failures)
    assert all("in unlucky" in str(e.error) for e in found.failures)
    assert found.failures[0].reason.startswith("test_several_objectives.Unlucky: with")


def test_what_is_not_caught_is_passed_on() -> None:
    for catch in ((), (KeyError,)):
        with pytest.raises(Unlucky):
            minimize(unlucky, BITS, 100, catch=catch)
    for wrong in ((KeyboardInterrupt,), (3,), {Unlucky, KeyError}):
        with pytest.raises(ConfigError):
            minimize(unlucky, BITS, 100, catch=wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"none of 4 calls gave one; the first: .*Unlucky"):
        minimize(unlucky, {"b0": (1,), "b1": range(4)}, 10, catch=(Unlucky,))
