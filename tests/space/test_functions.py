from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clso.space import Genome
from clso.space.functions import FunctionObjective, measure_batch


def test_one_call_measures_a_batch() -> None:
    calls: list[int] = []

    def total(genomes: Sequence[Genome]) -> np.ndarray:
        calls.append(len(genomes))
        return np.asarray(genomes).sum(axis=1)

    objective = FunctionObjective(total)
    done = objective.evaluate([(1, 2), (3, 4), (0, 0)], 0)
    assert [(e.genome, e.values, e.n_tokens) for e in done] == [
        ((1, 2), (3.0,), 0),
        ((3, 4), (7.0,), 0),
        ((0, 0), (0.0,), 0),
    ]
    assert all(type(e.values[0]) is float for e in done)
    assert calls == [3]
    assert objective.evaluate([], 0) == []


def test_only_the_culprit_fails() -> None:
    def divide(genomes: Sequence[Genome]) -> np.ndarray:
        return np.array([1 / g[0] if g[0] != 9 else float("nan") for g in genomes])

    done = FunctionObjective(divide).evaluate([(1,), (0,), (9,), (2,)], 0)
    assert [e.status for e in done] == ["ok", "failed", "non_finite", "ok"]
    assert "ZeroDivisionError" in (done[1].error or "")
    assert done[3].value == 0.5


@pytest.mark.parametrize("values", [np.zeros((2, 1)), np.zeros(3), np.float64(0)])
def test_values_of_another_shape_are_failures(values: np.ndarray) -> None:
    done = FunctionObjective(lambda _: values).evaluate([(0,), (1,)], 0)
    assert [e.status for e in done] == ["failed", "failed"]
    assert "have values of shape" in (done[0].error or "")


@pytest.mark.parametrize("error", [SystemExit(0), GeneratorExit(), ValueError("no")], ids=repr)
def test_only_the_culprit_fails_whatever_it_raises(error: BaseException) -> None:
    def function(genomes: Sequence[Genome]) -> list[Any]:
        if (1,) in genomes:
            raise error
        return [np.float32(g[0]) for g in genomes]

    found = measure_batch(function, [(0,), (1,), (2,)], 0, n_tokens=5)
    assert [e.status for e in found] == ["ok", "failed", "ok"]
    assert type(error).__name__ in str(found[1].error)
    assert [type(v) for e in found for v in e.values] == [float, float]


@pytest.mark.parametrize("returned", [None, 1.0, [None], ["1"], [], [1.0, 2.0]], ids=repr)
def test_what_is_not_one_number_a_genome_is_a_failure(returned: Any) -> None:
    (found,) = measure_batch(lambda genomes: returned, [(0,)], 0, n_tokens=1)
    assert found.status == "failed"
    assert "value" in str(found.error)


def test_ctrl_c_is_no_failure() -> None:
    def function(genomes: Sequence[Genome]) -> list[float]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measure_batch(function, [(0,), (1,)], 0, n_tokens=1)
