from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from toys import OneMax

from clso.errors import EvaluationError
from clso.evaluation.evaluator import LocalEvaluator
from clso.run.finish import successive_halving
from clso.space import Genome
from clso.space.results import Evaluation


class Rungs:
    """Three rungs on which a genome's loss is its first gene, plus noise that falls with the
    rung."""

    fidelities: tuple[int, ...] = (10, 100, 1000)

    def __init__(self) -> None:
        self.asked: list[tuple[list[Genome], int]] = []

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
        self.asked.append((list(genomes), fidelity))
        noise = (5.0, 0.5, 0.0)[fidelity]
        return [
            Evaluation.measured(
                g, fidelity, (g[0] + noise * (g[0] % 3),), self.fidelities[fidelity]
            )
            for g in genomes
        ]


def test_answers_come_in_order_and_in_one_batch() -> None:
    objective = OneMax().objective()
    evaluator = LocalEvaluator(objective)
    genomes = [(1,) * 24, (0,) * 24, (1,) * 23 + (0,)]
    assert [e.value for e in evaluator.evaluate(genomes, 0)] == [0.0, 24.0, 1.0]
    assert objective.asked == genomes
    assert evaluator.evaluate([], 0) == []
    assert evaluator.completed() == []


def test_a_genome_given_twice_is_measured_once() -> None:
    objective = OneMax().objective()
    genomes = [(1,) * 24, (0,) * 24, (1,) * 24]
    assert [e.value for e in LocalEvaluator(objective).evaluate(genomes, 0)] == [0.0, 24.0, 0.0]
    assert len(objective.asked) == 2


def test_an_objective_that_leaves_a_genome_out_is_an_error_and_no_endless_wait() -> None:
    class Forgetful(Rungs):
        def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> list[Evaluation]:
            return super().evaluate(genomes[1:], fidelity)

    with pytest.raises(EvaluationError, match="every genome is answered"):
        LocalEvaluator(Forgetful()).evaluate([(1,), (2,)], 0)


def test_halving_measures_fewer_candidates_on_more_tokens() -> None:
    objective = Rungs()
    evaluator = LocalEvaluator(objective)
    first = evaluator.evaluate([(i,) for i in range(100)], 0)
    first[7] = Evaluation((7,), 0, (math.nan,))
    rungs = successive_halving(evaluator, first, finalists=2)
    assert [(len(genomes), fidelity) for genomes, fidelity in objective.asked[1:]] == [
        (32, 1),
        (8, 2),
    ]
    best_first = sorted((e for e in first if e.ok), key=lambda e: e.value)
    assert [e.genome for e in rungs[0]] == [e.genome for e in best_first[:32]]
    assert [e.genome for e in rungs[1]] == [
        e.genome for e in sorted(rungs[0], key=lambda e: e.value)[:8]
    ]
    assert all(e.genome != (7,) for rung in rungs for e in rung)


def test_halving_takes_what_there_is() -> None:
    evaluator = LocalEvaluator(Rungs())
    rungs = successive_halving(evaluator, evaluator.evaluate([(3,), (1,), (2,)], 0), finalists=4)
    assert [len(r) for r in rungs] == [3, 3]
    assert successive_halving(evaluator, [], finalists=4) == [[], []]


@given(
    values=st.lists(st.floats(), max_size=3).map(tuple),
    status=st.sampled_from(["ok", "failed", "non_finite"]),
    error=st.none() | st.text(),
)
def test_only_finite_values_are_ok_and_json_gives_the_same_evaluation_back(
    values: tuple[float, ...], status: str, error: str | None
) -> None:
    e = Evaluation((1, 2), 1, values, status, 64, error)  # type: ignore[arg-type]
    assert e.ok == (status == "ok" and bool(values) and all(map(math.isfinite, values)))
    assert e.value == (values[0] if e.ok else math.inf)
    assert Evaluation.from_json(e.to_json()) == e
    if not e.ok:
        assert e.values == ()
        assert e.status != "ok"


class Started(Rungs):
    """Work that a device does while this process goes on; `log` is the order of things."""

    def __init__(self) -> None:
        super().__init__()
        self.log: list[str] = []

    def begin(self, genomes: Sequence[Genome], fidelity: int) -> Callable[[], list[Evaluation]]:
        self.log.append("begin")

        def wait() -> list[Evaluation]:
            self.log.append("wait")
            return self.evaluate(genomes, fidelity)

        return wait


def test_what_can_be_done_meanwhile_is_done_between_the_start_and_the_wait() -> None:
    objective = Started()
    evaluator = LocalEvaluator(objective)
    found = evaluator.evaluate([(3,), (1,)], 2, meanwhile=lambda: objective.log.append("meanwhile"))
    assert [e.value for e in found] == [3.0, 1.0]
    assert objective.log == ["begin", "meanwhile", "wait"]
    assert evaluator.completed() == []
    plain = Rungs()
    done: list[str] = []
    assert (
        LocalEvaluator(plain).evaluate([(3,)], 2, meanwhile=lambda: done.append("too"))[0].value
        == 3.0
    )
    assert done == ["too"]


@pytest.mark.parametrize(
    "answer", [None, 3, [None], [1.0], [Evaluation((2,), 0, (1.0,))], [0, 0]], ids=repr
)
@pytest.mark.parametrize("kind", [Rungs, Started])
def test_an_answer_that_is_none_is_named(kind: type[Rungs], answer: object) -> None:
    objective = kind()
    objective.evaluate = lambda genomes, fidelity: answer  # type: ignore[assignment, method-assign, return-value]
    with pytest.raises(EvaluationError, match=r"every genome is answered|raises nothing"):
        LocalEvaluator(objective).evaluate([(1,)], 0)


@pytest.mark.parametrize(
    "error", [SystemExit(0), SystemExit(), GeneratorExit(), OSError("gone"), ValueError()], ids=repr
)
@pytest.mark.parametrize("function", ["begin", "evaluate"])
def test_what_an_objective_raises_is_an_error_that_says_so(
    function: str, error: BaseException
) -> None:
    def fail(*args: object) -> list[Evaluation]:
        raise error

    objective = Started()
    setattr(objective, function, fail)
    with pytest.raises(EvaluationError, match=f"raised {type(error).__name__}.*raises nothing"):
        LocalEvaluator(objective).evaluate([(1,)], 0)


def test_an_evaluation_holds_plain_numbers() -> None:
    e = Evaluation(np.array([1, 2]), np.int64(0), (np.float32(0.5), True), n_tokens=np.int32(3))  # type: ignore[arg-type]
    assert e == Evaluation((1, 2), 0, (0.5, 1.0), n_tokens=3)
    assert json.loads(json.dumps(e.to_json())) == e.to_json()
    failed = Evaluation((True,), 0, (), "failed", error=ValueError("boom"))  # type: ignore[arg-type]
    assert failed.to_json()["genome"] == [1]
    assert "boom" in failed.to_json()["error"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"genome": (0.5,)},
        {"genome": ("1",)},
        {"values": (None,)},
        {"values": 1.0},
        {"values": "12"},
        {"status": "fine"},
        {"n_tokens": 1.5},
    ],
    ids=repr,
)
def test_an_evaluation_of_anything_else_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(EvaluationError):
        Evaluation(**{"genome": (1,), "fidelity": 0, "values": (1.0,), **wrong})
