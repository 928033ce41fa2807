"""An acquisition orders candidates by what it was told, and by nothing else; an optimizer takes none
that leaves out an objective."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from toys import OneMax
from toys_pareto import Priced

from clso import EngineConfig
from clso.engine import Engine, ParetoEngine
from clso.errors import ConfigError
from clso.search.acquisition import Acquisition, ParetoOrder
from clso.search.optimizer import Optimizer
from clso.space import Genome
from clso.space.results import Evaluation
from clso.surrogates.linear import ridge

N = 24


def measured(*points: tuple[float, float]) -> list[Evaluation]:
    """Evaluations with those values; their genomes do not matter."""
    return [Evaluation((i,) * N, 0, point) for i, point in enumerate(points)]


def no_costs(genome: Genome) -> dict[str, float]:
    return {}


def order(acquisition: ParetoOrder, *predicted: tuple[float, ...]) -> list[int]:
    return acquisition.order([(0,) * N] * len(predicted), np.array(predicted))


def test_what_the_measured_front_dominates_comes_last() -> None:
    acquisition = ParetoOrder(("a", "b"), no_costs)
    acquisition.observe(measured((0.0, 10.0), (10.0, 0.0)))
    assert order(acquisition, (11.0, 1.0), (5.0, 5.0)) == [1, 0]
    acquisition.observe(measured((4.0, 4.0)))
    assert order(acquisition, (5.0, 5.0), (2.0, 6.0))[0] == 1
    assert acquisition.front.tolist() == [[0.0, 10.0], [10.0, 0.0], [4.0, 4.0]]
    acquisition.forget()
    assert order(acquisition, (11.0, 11.0), (5.0, 5.0)) == [1, 0]


def test_what_fills_a_gap_comes_before_what_crowds_a_measured_point() -> None:
    acquisition = ParetoOrder(("a", "b"), no_costs)
    acquisition.observe(measured((0.0, 10.0), (1.0, 9.0), (10.0, 0.0)))
    assert order(acquisition, (0.5, 9.5), (5.0, 5.0)) == [1, 0]


def test_known_costs_are_taken_as_they_are_and_not_predicted() -> None:
    acquisition = ParetoOrder(("loss", "ones", "joules"), lambda g: {"ones": sum(g)}, ("ones",))
    assert acquisition.unknown == (0, 2)
    genomes: Sequence[Genome] = [(1,) * N, (0,) * N]
    assert acquisition.order(genomes, np.array([[1.0, 1.0], [1.0, 1.0]])) == [1, 0]


def test_known_costs_leave_every_other_place_to_the_lowest_prediction() -> None:
    space = Priced()
    acquisition = ParetoOrder(("loss", "price"), space.costs, ("price",))
    front = [((0,) * 16, 6), ((1,) * 16, 0)]  # 0 at a price of 6, 19 at none
    acquisition.observe(space.both([free + (int(n > 0),) * 6 for free, n in front]))

    def at(price: int) -> Genome:
        return (4,) * 16 + (1,) * price + (0,) * (6 - price)

    candidates, predicted = [at(5), at(6), at(3), at(1)], np.array([[1.5], [1.0], [2.0], [3.0]])
    ranked = acquisition.order(candidates, predicted)
    assert sorted(ranked) == [0, 1, 2, 3]
    assert ranked[:2] == [1, 3]  # the lowest; then what makes the front's area grow most


def test_a_restored_optimizer_tells_its_acquisition_what_was_measured() -> None:
    evaluations = [Evaluation((i % 2,) * N, 0, (i, -i)) for i in range(2)]
    first, optimizer = (Optimizer(OneMax(), objectives=("a", "b"), surrogate=None) for _ in "ab")
    first.tell(evaluations)
    optimizer.tell((1, 0) * 12, (-5.0, -5.0))  # of another search
    optimizer.load_state_dict(first.state_dict())
    assert isinstance(optimizer.acquisition, ParetoOrder)
    assert optimizer.acquisition.front.tolist() == [[0.0, 0.0], [1.0, -1.0]]


class ByTheFirst(Acquisition):
    def order(self, candidates: Sequence[Genome], predicted: Any) -> list[int]:
        return np.argsort(predicted[:, 0]).tolist()  # type: ignore[no-any-return]


def pareto_engine() -> ParetoEngine:
    return ParetoEngine(OneMax(), EngineConfig(pop_size=8), upper=(math.inf,) * 2)


def test_a_front_cannot_be_screened_by_one_of_its_objectives() -> None:
    for how in ({"engine": pareto_engine()}, {"objectives": ("a", "b")}):
        with pytest.raises(ConfigError, match="the acquisition orders by 1"):
            Optimizer(OneMax(), acquisition=ByTheFirst(), **how)  # type: ignore[arg-type]
        optimizer = Optimizer(OneMax(), **how)  # type: ignore[arg-type]
        assert optimizer.screener.n_values == 2
        assert isinstance(optimizer.acquisition, ParetoOrder)
    with pytest.raises(ConfigError, match="an engine of 2 values has as many objectives"):
        Optimizer(OneMax(), engine=pareto_engine(), objectives=("loss",))
    with pytest.raises(ConfigError, match="an engine of 1 values"):
        Optimizer(OneMax(), engine=Engine(OneMax()), objectives=("a", "b"))
    assert Optimizer(OneMax(), acquisition=ByTheFirst()).screener.n_values == 1


def test_an_engine_of_two_values_and_named_objectives_are_one_search() -> None:
    def run(**how: Any) -> list[Genome]:
        optimizer = Optimizer(OneMax(), surrogate=ridge, seed=0, **how)
        asked: list[Genome] = []
        while len(asked) < 100:
            for genome in optimizer.ask(8):
                asked.append(genome)
                optimizer.tell(genome, (-sum(genome), sum(genome[::2])))
        assert optimizer.screener.n_screened_out > 100
        return asked

    engine = ParetoEngine(OneMax(), upper=(math.inf,) * 2)
    assert run(engine=engine) == run(objectives=("a", "b"))
