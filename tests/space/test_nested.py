"""Choices with choices of their own, ranges, and what is taken for one."""

from __future__ import annotations

import warnings
from typing import Any

import pytest

from clso import Float, Int, Optimizer, minimize
from clso.errors import ConfigError, SearchWarning
from clso.space.choices import Choices

SVM: dict[str, Any] = {
    "kernel": {
        "poly": {"degree": [2, 3, 4], "coef0": {"zero": None, "some": {"shift": [1, 2]}}},
        "rbf": {"gamma": Float(1e-3, 1, log=True, steps=4)},
        "linear": {},
    },
    "c": [1, 10],
}


def test_what_belongs_to_an_option_not_taken_is_not_there() -> None:
    space = Choices(SVM)
    seen: list[Any] = [space.decode(genome) for genome in Optimizer(space, seed=0).ask(10_000)]
    found = sorted(tuple(x.items()) for x in seen)
    wanted: list[Any] = [
        (("kernel", "poly"), ("degree", d), ("coef0", "zero"), ("c", c))
        for d in (2, 3, 4)
        for c in (1, 10)
    ]
    wanted += [
        (("kernel", "poly"), ("degree", d), ("coef0", "some"), ("shift", v), ("c", c))
        for d in (2, 3, 4)
        for v in (1, 2)
        for c in (1, 10)
    ]
    wanted += [
        (("kernel", "rbf"), ("gamma", g), ("c", c)) for g in (1e-3, 1e-2, 0.1, 1.0) for c in (1, 10)
    ]
    wanted += [(("kernel", "linear"), ("c", c)) for c in (1, 10)]
    assert len(found) == len(set(found)) == len(wanted)
    assert set(found) == set(wanted)


def test_nothing_of_an_option_not_taken_is_shown() -> None:
    def loss(x: dict[str, Any]) -> float:
        return 0.0 if x["kernel"] == "linear" else 1.0 + x.get("degree", 0)

    result = minimize(loss, SVM, 12, seed=0)
    assert result.x.keys() == {"kernel", "c"}
    for shown in (repr(result), result._repr_html_(), Optimizer(SVM)._repr_html_()):
        assert "degree" not in shown
    for row, evaluation in zip(result.trials().rows(), result.evaluations, strict=True):
        decoded = Choices(SVM).decode(evaluation.genome)
        assert isinstance(decoded, dict)
        shown_genes = {n: row[n] for n in ("kernel", "degree", "coef0", "shift", "gamma", "c")}
        assert {n: v for n, v in shown_genes.items() if v is not None} == {
            n: str(v) for n, v in decoded.items()
        }


def test_a_name_of_several_options_is_one_gene_if_its_values_are_the_same() -> None:
    space = Choices(
        {
            "opt": {
                "adam": {"rate": [1, 2], "beta": [0.9, 0.99]},
                "sgd": {"rate": [1, 2], "momentum": {"yes": {"beta": [0, 1]}, "no": {}}},
                "lbfgs": {"rate": [5, 6]},
            }
        }
    )
    names = [gene.name for gene in space.genes]
    assert names == [
        "opt",
        "rate (opt=adam or sgd)",
        "beta (opt=adam)",
        "momentum",
        "beta (opt=sgd, momentum=yes)",
        "rate (opt=lbfgs)",
    ]
    assert space.decode((1, 1, 0, 0, 1, 0)) == {
        "opt": "sgd",
        "rate": 2,
        "momentum": "yes",
        "beta": 1,
    }
    assert space.decode((2, 1, 0, 0, 1, 0)) == {"opt": "lbfgs", "rate": 5}


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"a": {"x": {"b": [1, 2]}}, "b": [1, 2]}, "one value at a time"),
        ({"a": {"x": {"a": [1, 2]}, "y": {}}}, "one value at a time"),
        ({"a": {"x": {"b": [1, 2]}, "y": {}}, "c": {"x": {"b": [1, 2]}, "y": {}}}, "one value at"),
        ({"a": {"x": [1, 2], "y": {}}}, "an option of 'a' is a dict"),
        ({"a": {1: {}, "1": {}}}, "differ as text"),
        ({"a": {}}, "at least one choice"),
    ],
    ids=["outside", "itself", "two", "list", "text", "none"],
)
def test_what_cannot_be_meant_is_refused(choices: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Choices(choices)


def test_a_tuple_of_two_floats_is_two_choices_and_says_so() -> None:
    with pytest.warns(SearchWarning, match=r"'rate' has two choices.*Float\(0.0, 1.0\)"):
        space = Choices({"rate": (0.0, 1.0)})
    assert [space.decode((i,)) for i in range(2)] == [{"rate": 0.0}, {"rate": 1.0}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Choices({"a": [0.0, 1.0], "b": (0.0, 0.5, 1.0), "c": (0, 1), "d": Float(0, 1)})


def test_ranges_are_grids_with_both_ends() -> None:
    assert list(Float(1e-4, 1e-1, log=True, steps=4)) == [1e-4, 1e-3, 1e-2, 1e-1]
    assert list(Float(0, 1, steps=5)) == [0.0, 0.25, 0.5, 0.75, 1.0]
    assert list(Int(1, 100, log=True, steps=3)) == [1, 10, 100]
    assert list(Int(1, 8, log=True)) == list(range(1, 9))
    assert list(Int(0, 1000, steps=3)) == [0, 500, 1000]
    assert len(Float(0, 1)) == 20
    assert [
        gene.ordered for gene in Choices({"a": Float(0, 1), "b": [3, 1], "c": ["xyz"]}).genes
    ] == [
        True,
        False,
        False,
    ]


@pytest.mark.parametrize(
    "make",
    [
        lambda: Float(1, 0),
        lambda: Float(0, 1, log=True),
        lambda: Float(0, float("inf")),
        lambda: Float(0, 1, steps=1),
        lambda: Float(1, 1.00001, steps=50),
        lambda: Int(0, 4, log=True),
        lambda: Int(3, 3),
        lambda: Int(0.5, 3),  # type: ignore[arg-type]
        lambda: Float("0", 1),  # type: ignore[arg-type]
    ],
    ids=["falling", "log 0", "infinite", "one", "digits", "int log", "empty", "half", "text"],
)
def test_ranges_that_are_none_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError):
        make()


@pytest.mark.parametrize(
    ("values", "ordered"),
    [
        ([1, 2, 3], True),
        ([3.0, 2, 1], True),
        ([1, 3, 2], False),
        ([1, 2], False),
        (["1", "2", "3"], False),
        ([False, True, 2], False),
        (range(5), True),
        (Int(1, 64, log=True), True),
    ],
    ids=repr,
)
def test_rising_or_falling_numbers_are_ordered(values: Any, ordered: bool) -> None:
    assert Choices({"a": values}).genes[0].ordered is ordered
