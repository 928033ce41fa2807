from __future__ import annotations

import doctest
import json
import math
import random
from pathlib import Path

import pytest
from toys import OneMax, Toy

import clso.choices
import clso.optimizer
from clso import EngineConfig, Optimizer, minimize
from clso.choices import Choices
from clso.errors import ConfigError, GenomeError, PluginError
from clso.evaluation.results import Evaluation
from clso.space import Genome

SIZES = [4, 3, 5, 2, 6, 4]
EFFECTS = [[random.Random(f"{g}.{a}").random() for a in range(n)] for g, n in enumerate(SIZES)]


def value(genome: Genome) -> float:
    return sum(EFFECTS[g][a] for g, a in enumerate(genome)) + 0.3 * abs(genome[0] - genome[5])


def drive(optimizer: Optimizer, n: int, at_a_time: int = 1) -> list[Genome]:
    asked: list[Genome] = []
    while len(asked) < n:
        batch = optimizer.ask(at_a_time)
        for genome in batch:
            optimizer.tell(genome, value(genome))
        asked += batch
    return asked


def test_the_documentation_runs() -> None:
    page = Path(__file__).parent.parent / "docs" / "library.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 15
    assert result.failed == 0


@pytest.mark.parametrize("module", [clso.choices, clso.optimizer])
def test_docstrings_run(module: object) -> None:
    result = doctest.testmod(module)  # type: ignore[arg-type]
    assert result.attempted > 0
    assert result.failed == 0


def test_finds_the_best_of_2880_in_200_and_screens() -> None:
    best = min(value(g) for g in _all(SIZES))
    for seed in range(3):
        optimizer = Optimizer(SIZES, seed=seed)
        asked = drive(optimizer, 200)
        assert len(set(asked)) == len(asked)
        assert optimizer.screener.n_screened_out > 500
        assert optimizer.best is not None
        assert optimizer.best.value == best


def _all(sizes: list[int]) -> list[Genome]:
    return [()] if not sizes else [(*g, a) for g in _all(sizes[:-1]) for a in range(sizes[-1])]


@pytest.mark.parametrize("at_a_time", [1, 3, 20])
def test_a_state_that_went_through_json_continues_identically(at_a_time: int) -> None:
    expected = drive(Optimizer(SIZES, seed=4), 120, at_a_time)
    for stop in (1, 30, 70):
        first = Optimizer(SIZES, seed=4)
        begun = drive(first, stop, at_a_time)
        out = first.ask(2)  # still being measured at the time of the stop
        copy = Optimizer(SIZES, seed=4)
        copy.load_state_dict(json.loads(json.dumps(first.state_dict())))
        for optimizer in (first, copy):
            for genome in reversed(out):
                optimizer.tell(genome, value(genome))
        assert drive(copy, 60, at_a_time) == drive(first, 60, at_a_time)
        assert begun == expected[: len(begun)]
        assert copy.best == first.best


def test_what_is_out_is_not_proposed_again_and_late_answers_count() -> None:
    optimizer = Optimizer(SIZES, seed=0)
    out = [g for _ in range(12) for g in optimizer.ask(7)]
    assert len(set(out)) == len(out) == 84
    for genome in random.Random(0).sample(out, len(out)):
        optimizer.tell(genome, value(genome))
    assert optimizer.n_evaluated == 84
    assert not set(optimizer.ask(30)) & set(out)


def test_a_small_space_is_exhausted() -> None:
    optimizer = Optimizer([2, 2, 2])
    assert len(optimizer.ask(20)) == 8
    assert optimizer.ask(1) == []
    assert len(minimize(sum, [2, 2], 100).evaluations) == 4


def test_only_what_was_told_is_a_result() -> None:
    class Believes:
        def fit(self, X: object, y: object) -> None: ...
        def predict(self, X: list[object]) -> list[float]:
            return [-1e6 + i for i in range(len(X))]

    optimizer = Optimizer(SIZES, surrogate=lambda seed: Believes(), seed=0)
    drive(optimizer, 100)
    assert optimizer.best is not None
    assert optimizer.best.value == value(optimizer.best.genome)


def test_failures_and_evaluations_are_told() -> None:
    optimizer = Optimizer(OneMax(), surrogate=None)
    a, b, c = optimizer.ask(3)
    optimizer.tell(a, math.nan)
    assert optimizer.best is None
    optimizer.tell([Evaluation(b, 0, (), "failed", error="boom"), Evaluation(c, 0, (3.0,))])
    assert optimizer.best == Evaluation(c, 0, (3.0,))
    assert optimizer.n_evaluated == 3
    with pytest.raises(ValueError, match="measured before"):
        optimizer.tell(c, 1.0)


def test_seeds_are_tried_first() -> None:
    assert Optimizer(Toy([4] * 3, seeds=[(1, 2, 3)])).ask(1) == [(1, 2, 3)]
    assert Optimizer([4] * 3, seeds=[(3, 2, 1), (0, 0, 0)]).ask(2) == [(3, 2, 1), (0, 0, 0)]


def test_callbacks_see_every_evaluation_and_can_stop() -> None:
    seen: list[float] = []

    def callback(optimizer: Optimizer, evaluation: Evaluation) -> bool:
        seen.append(evaluation.value)
        return len(seen) == 7

    result = minimize(value, SIZES, 100, callback=callback)
    assert seen == [e.value for e in result.evaluations]
    assert len(seen) == 7
    assert result.value == min(seen)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="choices"):
        Optimizer(["a", "b"])  # type: ignore[list-item]
    for nothing in ([], {}, [2, 0], {"a": []}):
        with pytest.raises(ConfigError, match="at least one"):
            Choices(nothing)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="function"):
        Choices([2]).objective()
    with pytest.raises(PluginError, match="Did you mean 'gp'"):
        Optimizer([2, 2], surrogate="gpp")
    with pytest.raises(GenomeError):
        Optimizer([2, 2]).tell((0, 2), 1.0)
    with pytest.raises(ConfigError):
        Optimizer([2, 2]).ask(0)
    for bad in ({"batch": 0}, {"pool": 0}):
        with pytest.raises(ConfigError):
            Optimizer([2, 2], **bad)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="finite"):
        minimize(lambda x: math.nan, [2, 2])
    with pytest.raises(ConfigError, match="at least 1"):
        minimize(sum, [2, 2], 0)
    with pytest.raises(ZeroDivisionError):
        minimize(lambda x: 1 / 0, [2, 2])


def test_ten_thousand_genes_and_a_population_of_ten_thousand() -> None:
    wide = Optimizer([3] * 10_000, surrogate=None, config=EngineConfig(pop_size=8))
    for genome in wide.ask(24):
        wide.tell(genome, sum(genome))
    assert len(wide.ask(4)[0]) == 10_000
    many = Optimizer([2] * 40, surrogate=None, config=EngineConfig(pop_size=10_000))
    genomes = many.ask(12_000)
    many.tell([Evaluation(g, 0, (float(sum(g)),)) for g in genomes])
    assert len(many.engine.population) == 10_000
    assert len(many.ask(100)) == 100
