from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

from clso.conversion import as_float, as_floats, as_index, as_json, as_seed, in_order
from clso.errors import ConfigError, EvaluationError, PluginError

NUMBERS: list[Any] = [
    3,
    3.0,
    np.int64(3),
    np.float32(3),
    np.array(3),
    np.array([3.0]),
    torch.tensor(3.0),
    torch.tensor([3]),
    Fraction(6, 2),
    Decimal("3.0"),
]
NO_NUMBERS: list[Any] = [
    None,
    "3",
    b"3",
    [3],
    (1.0, 2.0),
    np.array([1, 2]),
    torch.zeros(2),
    1j,
    np.complex64(1),
    {},
]


@pytest.mark.parametrize("number", NUMBERS, ids=repr)
def test_a_number_of_any_library_is_pythons_own(number: Any) -> None:
    assert as_float(number, "it") == 3.0
    assert type(as_float(number, "it")) is float
    assert as_index(number, "it") == 3
    assert type(as_index(number, "it")) is int


@pytest.mark.parametrize("value", NO_NUMBERS, ids=repr)
def test_what_is_no_number_is_refused_by_name(value: Any) -> None:
    with pytest.raises(EvaluationError, match="the loss is a number; got"):
        as_float(value, "the loss", EvaluationError)
    with pytest.raises(ConfigError, match="the count is a whole number"):
        as_index(value, "the count")


def test_a_number_too_large_for_a_float_is_infinite() -> None:
    assert as_float(10**400, "it") == math.inf
    assert as_float(-(10**5000), "it") == -math.inf
    assert as_float(Decimal("1e999"), "it") == math.inf
    assert math.isnan(as_float(Decimal("nan"), "it"))


@pytest.mark.parametrize("value", [1.5, math.nan, math.inf, -1, Decimal("0.5")])
def test_a_seed_is_a_whole_number_from_0_on(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"a seed is .*at least 0"):
        as_seed(value)
    assert as_seed(np.uint64(2**63)) == 2**63


def test_sequences_of_numbers() -> None:
    for values in ([1, 2], (np.float32(1), 2), np.array([1, 2]), torch.tensor([1.0, 2.0])):
        assert as_floats(values, "they") == (1.0, 2.0)
    for wrong in ("12", 1.0, None, {1: 2}, np.array(1.0), [None], [[1, 2]]):
        with pytest.raises(PluginError, match="they"):
            as_floats(wrong, "they", PluginError)


def test_json_types() -> None:
    given = {
        "a": np.float32(0.5),
        1: (np.int64(2), True, None),
        "c": np.eye(2),
        "d": torch.tensor(1.5),
        "e": "text",
    }
    assert json.loads(json.dumps(as_json(given, "it"))) == {
        "a": 0.5,
        "1": [2, True, None],
        "c": [[1, 0], [0, 1]],
        "d": 1.5,
        "e": "text",
    }
    for wrong in (math.nan, np.inf, object(), {1, 2}):
        with pytest.raises(ConfigError):
            as_json({"a": [wrong]}, "it")


def test_an_order_that_is_not_ones_own_is_refused() -> None:
    assert in_order({"a": 1, "b": 2}.keys(), "they") == ("a", "b")
    assert in_order(np.arange(2), "they") == (0, 1)
    for wrong in ({1, 2}, frozenset("ab"), {"a": 1}.keys() | {"b"}, "ab", b"ab", 3):
        with pytest.raises(ConfigError, match="they"):
            in_order(wrong, "they")


def test_a_message_bears_any_value() -> None:
    class Shy:
        def __repr__(self) -> str:
            raise RuntimeError

    assert "type Shy" in str(ConfigError("rule", got=Shy()))
    assert "type int" in str(ConfigError("rule", got=10**5000))
    assert len(str(ConfigError("rule", got=list(range(10**5))))) < 3000
