"""Failures teach which candidates are likely to fail, if anything is to be learned from them."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from clso import Optimizer, minimize
from clso.screening.config import ScreeningConfig
from clso.screening.encoding import Encoder
from clso.screening.validity import Validity
from clso.space import Genome
from clso.surrogates.gaussian_process import gp

SIZES = [8] * 5


def too_large(genome: Genome) -> bool:
    """Half of the genomes: a product above a limit."""
    return (genome[0] + 1) * (genome[1] + 1) > 16


def by_chance(genome: Genome) -> bool:
    return random.Random(str(genome)).random() < 0.5


def draw(n: int, seed: int = 0) -> list[Genome]:
    rng = random.Random(seed)
    return [tuple(rng.randrange(8) for _ in SIZES) for _ in range(n)]


def taught(fails: Callable[[Genome], bool], n: int = 160) -> Validity:
    one = Validity(gp, Encoder(SIZES), seed=0)
    genomes = draw(n)
    for i in range(0, n, 8):
        batch = genomes[i : i + 8]
        chances = one.chances(batch)
        told = {} if chances is None else dict(zip(batch, chances.tolist(), strict=True))
        one.learn([(genome, fails(genome)) for genome in batch], told)
    return one


def test_products_above_a_limit_are_learned() -> None:
    one = taught(too_large)
    assert one.in_force
    genomes = draw(300, seed=1)
    chances = one.chances(genomes)
    assert chances is not None
    right = [(chance < 0.5) == too_large(g) for g, chance in zip(genomes, chances, strict=True)]
    assert np.mean(right) > 0.85


@pytest.mark.parametrize("fails", [by_chance, lambda genome: False, lambda genome: True])
def test_what_tells_nothing_is_not_used(fails: Callable[[Genome], bool]) -> None:
    assert not taught(fails).in_force


def test_nothing_is_predicted_of_a_few_failures() -> None:
    one = Validity(gp, Encoder(SIZES), seed=0)
    genomes = draw(20)
    one.learn([(genome, i < 3) for i, genome in enumerate(genomes)])
    assert one.chances(genomes) is None
    one.learn([((0,) * 5, True)])
    assert one.chances(genomes) is not None


def test_a_state_continues() -> None:
    one, again = taught(too_large), Validity(gp, Encoder(SIZES), seed=0)
    again.load_state_dict(json.loads(json.dumps(one.state_dict())))
    genomes = draw(20, seed=2)
    assert again.chances(genomes).tolist() == one.chances(genomes).tolist()  # type: ignore[union-attr]
    assert again.state_dict() == one.state_dict()


def test_an_estimator_that_raises_is_not_asked_again() -> None:
    class Raises:
        def fit(self, X: Any, y: Any) -> None:
            raise SystemExit(3)

        def predict(self, X: Any) -> Any: ...

    one = Validity(lambda _: Raises(), Encoder(SIZES), seed=0)
    one.learn([(genome, too_large(genome)) for genome in draw(40)])
    assert one.chances(draw(3)) is None
    assert not one.in_force


def value(genome: Genome) -> float:
    return float("nan") if too_large(genome) else -float(sum(genome))


def search(optimizer: Optimizer, n: int, ask: int = 1) -> list[Genome]:
    asked: list[Genome] = []
    while len(asked) < n:
        batch = optimizer.ask(ask)
        asked += batch
        for genome in batch:
            optimizer.tell(genome, value(genome))
    return asked


def test_a_search_fails_less_once_it_has_learned_why() -> None:
    def failed(**how: Any) -> int:
        optimizer = Optimizer(SIZES, seed=1, **how)
        return sum(map(too_large, search(optimizer, 150)))

    assert failed() < failed(screening=ScreeningConfig(failures=False)) / 2


def test_a_restored_search_goes_on_as_it_would_have() -> None:
    whole = Optimizer(SIZES, seed=2)
    expected = search(whole, 120, ask=5)
    for with_evaluations in (True, False):
        first = Optimizer(SIZES, seed=2)
        begun = search(first, 60, ask=5)
        state = json.loads(json.dumps(first.state_dict(with_evaluations=with_evaluations)))
        evaluations = [first.engine.lookup(genome) for genome in begun]
        again = Optimizer(SIZES, seed=2)
        again.load_state_dict(state, None if with_evaluations else evaluations)  # type: ignore[arg-type]
        assert begun + search(again, 60, ask=5) == expected
    assert whole.screener.failures_predicted


def test_the_order_of_arrival_changes_no_prediction() -> None:
    chances = []
    for seed in range(2):
        optimizer = Optimizer(SIZES, seed=3)
        for _ in range(10):
            batch = optimizer.ask(8)
            random.Random(seed).shuffle(batch)
            if seed:
                batch.reverse()
            values = {genome: value(genome) for genome in batch}
            optimizer.screener.observe(
                list(values), [None if v != v else v for v in values.values()]
            )
        chances.append(optimizer.screener.state_dict()["validity"])
    assert chances[0] == chances[1]


def test_a_failing_function_is_minimised_with_catch() -> None:
    def run(x: dict[str, int]) -> int:
        if too_large(tuple(x.values())):
            raise MemoryError
        return -sum(x.values())

    space = {f"g{i}": range(8) for i in range(5)}
    found = minimize(run, space, 200, catch=(MemoryError,), seed=0)
    assert found.value <= -29
    assert len(found.failures) < 70
