from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from clso.evaluation.functions import FunctionObjective
from clso.space import Genome


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
