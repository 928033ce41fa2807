from __future__ import annotations

import doctest
import json
import math
import pickle
import random
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import OneMax, Toy

from clso import EngineConfig, Optimizer, minimize
from clso.errors import ConfigError, EvaluationError, GenomeError, PluginError
from clso.screening.config import ScreeningConfig
from clso.space import Genome
from clso.space.choices import Choices
from clso.space.results import Evaluation

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
    page = Path(__file__).parents[2] / "docs" / "library.md"
    result = doctest.testfile(str(page), module_relative=False)
    assert result.attempted > 15
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
        def fit(self, X: Any, y: Any) -> None: ...
        def predict(self, X: Any) -> list[float]:
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


@pytest.mark.parametrize("n", [1, 20])
def test_the_function_is_called_as_often_as_asked(n: int) -> None:
    calls: list[Genome] = []

    def counted(genome: Genome) -> float:
        calls.append(genome)
        return value(genome)

    assert len(minimize(counted, SIZES, n).evaluations) == len(calls) == n


def test_no_more_is_picked_than_a_batch_or_what_is_missing() -> None:
    optimizer = Optimizer(SIZES, surrogate=None)
    for n, picked in ((3, 8), (10, 16), (20, 33)):  # handed out: 3, 13 and 33
        optimizer.ask(n)
        assert len(optimizer.pending) == picked


def test_what_was_picked_is_dropped_once_there_is_a_better_genome_to_breed_from() -> None:
    optimizer = Optimizer([6] * 8, seed=0)
    told: dict[Genome, float] = {}

    def measure(value: float | None = None) -> None:
        (genome,) = optimizer.ask()
        assert genome not in told
        told[genome] = sum(genome) if value is None else value
        optimizer.tell(genome, told[genome])

    while not (optimizer.screener.trusted and optimizer.pending):
        measure()
    picked = optimizer.pending
    measure(1e9)
    assert optimizer.pending == picked[1:]
    measure(-1.0)
    assert optimizer.pending == []
    for _ in range(30):
        measure()
    assert optimizer.n_evaluated == len(told)


def test_errors() -> None:
    with pytest.raises(ConfigError, match="choices"):
        Optimizer(["a", "b"])  # type: ignore[list-item]
    nothings: list[Any] = [[], {}, [2, 0], {"a": []}]
    for nothing in nothings:
        with pytest.raises(ConfigError, match="at least one"):
            Choices(nothing)
    with pytest.raises(ConfigError, match="function"):
        Choices([2]).objective()
    with pytest.raises(PluginError, match="Did you mean 'gp'"):
        Optimizer([2, 2], surrogate="gpp")
    foreign = Optimizer([2, 2], surrogate=None)
    with pytest.raises(GenomeError):
        foreign.tell((0, 2), 1.0)
    assert foreign.n_evaluated == 0
    with pytest.raises(ConfigError):
        Optimizer([2, 2]).ask(0)
    assert len(Optimizer([2, 2], screening=ScreeningConfig(batch=1, pool=1)).ask(2)) == 2
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


@pytest.mark.parametrize(
    "returned", [None, False, 0, 1, 12, 0.5, "logged", [1], np.array([1, 1])], ids=repr
)
def test_what_a_callback_happens_to_return_does_not_end_the_search(returned: object) -> None:
    result = minimize(
        sum, SIZES, 12, surrogate=None, callback=lambda optimizer, evaluation: returned
    )
    assert len(result.evaluations) == 12


@pytest.mark.parametrize("true", [True, np.True_, np.array(True)], ids=repr)
def test_true_of_any_library_ends_the_search(true: object) -> None:
    assert (
        len(minimize(sum, SIZES, 12, callback=lambda optimizer, evaluation: true).evaluations) == 1
    )


@pytest.mark.parametrize("surrogate", ["gp", "ridge", "forest"])
@pytest.mark.parametrize("seed", [20261128204412, 2**63])
def test_a_seed_of_any_size_leaves_the_surrogate_on(surrogate: str, seed: int) -> None:
    optimizer = Optimizer([4] * 6, seed=seed, surrogate=surrogate)
    drive_sums(optimizer, 40)
    assert optimizer.screener.disabled_reason is None
    assert optimizer.screener.n_audits > 0


def drive_sums(optimizer: Optimizer, n: int) -> list[Genome]:
    asked = []
    for _ in range(n):
        (genome,) = optimizer.ask()
        optimizer.tell(genome, float(sum(genome)))
        asked.append(genome)
    return asked


def test_seeds_are_whole_numbers_of_any_library() -> None:
    assert Optimizer(SIZES, seed=np.int64(3)).ask(5) == Optimizer(SIZES, seed=3).ask(5)  # type: ignore[arg-type]
    for wrong in (-1, 1.5, None, "1"):
        with pytest.raises(ConfigError, match=r"a seed is .*at least 0"):
            Optimizer(SIZES, seed=wrong)  # type: ignore[arg-type]


def test_a_pickled_optimizer_goes_on_alike() -> None:
    optimizer = Optimizer([4] * 8, seed=1)
    drive_sums(optimizer, 40)
    copied = pickle.loads(pickle.dumps(optimizer))
    assert drive_sums(copied, 20) == drive_sums(optimizer, 20)


def test_genomes_and_values_of_any_library_are_told_and_the_state_is_json() -> None:
    optimizer = Optimizer([3] * 4, surrogate=None)
    a, b, c, d = optimizer.ask(4)
    optimizer.tell(np.array(a), np.float32(1))  # type: ignore[arg-type]
    optimizer.tell(list(b), Fraction(1, 3))  # type: ignore[arg-type]
    optimizer.tell(Evaluation(tuple(map(np.int8, c)), 0, (Decimal(2),)))  # type: ignore[arg-type]
    optimizer.tell(d, 10**400)
    optimizer.tell((True, False, True, False), 1.0)
    restored = Optimizer([3] * 4, surrogate=None)
    restored.load_state_dict(json.loads(json.dumps(optimizer.state_dict())))
    asked = restored.ask(20)
    assert asked == optimizer.ask(20)
    assert {type(allele) for genome in asked for allele in genome} == {int}
    assert optimizer.best is not None
    assert optimizer.best.value == 1 / 3


@pytest.mark.parametrize("value", [None, "3.5", (1, 2), [1.0], {}], ids=repr)
def test_a_value_that_is_no_number_is_refused_and_nothing_is_told(value: object) -> None:
    optimizer = Optimizer([3] * 4, surrogate=None)
    (genome,) = optimizer.ask()
    with pytest.raises(EvaluationError, match="the value of a genome is a number; got"):
        optimizer.tell(genome, value)  # type: ignore[arg-type]
    with pytest.raises(EvaluationError, match="evaluations are told, or a genome with its value"):
        optimizer.tell(genome)
    with pytest.raises(EvaluationError, match="1 values are minimised, 2 were measured"):
        optimizer.tell(Evaluation(genome, 0, (1.0, 2.0)))
    assert optimizer.n_evaluated == 0
    assert genome in optimizer.pending


@pytest.mark.parametrize("returned", [None, (1.0, "model"), "3", {}], ids=repr)
def test_a_function_that_returns_no_number_is_named(returned: object) -> None:
    def loss(x: Genome) -> object:
        return returned

    with pytest.raises(ConfigError, match="what loss returns is a number; got"):
        minimize(loss, SIZES)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="what loss returns is a number; got"):
        Choices(SIZES, loss).objective().evaluate([(0,) * 6], 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("n", [0, -1, 10.5, math.nan, math.inf, "9", None], ids=repr)
def test_counts_are_whole_numbers(n: object) -> None:
    for call in (
        lambda: minimize(sum, SIZES, n),  # type: ignore[arg-type]
        lambda: Optimizer(SIZES).ask(n),  # type: ignore[arg-type]
        lambda: ScreeningConfig(batch=n),  # type: ignore[arg-type]
        lambda: EngineConfig(pop_size=n),  # type: ignore[arg-type]
    ):
        with pytest.raises(ConfigError, match="at least 1"):
            call()


def test_a_surrogate_that_calls_exit_is_switched_off() -> None:
    class Quits:
        def fit(self, x: object, y: object) -> None:
            raise SystemExit(0)

        predict = fit

    optimizer = Optimizer([4] * 6, surrogate=lambda random_state: Quits())  # type: ignore[arg-type, return-value]
    drive_sums(optimizer, 30)
    assert "SystemExit" in str(optimizer.screener.disabled_reason)
