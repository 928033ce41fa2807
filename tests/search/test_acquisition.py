"""An acquisition orders candidates by what it was told, and by nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from toys import OneMax
from toys_pareto import Priced

from clso.search.acquisition import ParetoOrder
from clso.search.optimizer import Optimizer
from clso.space import Genome
from clso.space.objectives import Objectives
from clso.space.results import Evaluation
from clso.surrogates.linear import ridge

FEW, MANY = (1,) * 4 + (0,) * 20, (1,) * 20 + (0,) * 4


def measured(joules_of_a_one: float, n: int = 60) -> list[Evaluation]:
    space = OneMax()
    rng = np.random.default_rng(0)
    genomes: list[Genome] = [tuple(map(int, rng.integers(0, 2, 24))) for _ in range(n)]
    return [
        Evaluation.measured(g, 0, (space.score(g), 100 + joules_of_a_one * sum(g)), 1)
        for g in genomes
    ]


@pytest.fixture
def acquisition() -> ParetoOrder:
    return ParetoOrder(Objectives(OneMax(), ("fitness", "energy_j"), {}), ridge, seed=0)


def test_joules_are_predicted_from_what_was_observed(acquisition: ParetoOrder) -> None:
    same_loss = np.zeros(2)
    acquisition.observe(measured(joules_of_a_one=2.0))
    assert acquisition.order([FEW, MANY], same_loss) == [0, 1]
    acquisition.forget()
    acquisition.observe(measured(joules_of_a_one=-2.0))
    assert acquisition.order([FEW, MANY], same_loss) == [1, 0]


def test_known_costs_leave_every_other_place_to_the_lowest_prediction() -> None:
    space = Priced()
    acquisition = ParetoOrder(Objectives(space, ("loss", "price"), {}), ridge, seed=0)
    front = [((0,) * 16, 6), ((1,) * 16, 0)]  # 0 at a price of 6, 19 at none
    acquisition.observe(space.both([free + (int(n > 0),) * 6 for free, n in front]))

    def at(price: int) -> Genome:
        return (4,) * 16 + (1,) * price + (0,) * (6 - price)

    candidates, predicted = [at(5), at(6), at(3), at(1)], np.array([30.0, 1.0, 2.0, 17.0])
    # the lowest are 1, 2, 3; most is gained by 2, then by 3, and by the others nothing
    assert acquisition.order(candidates, predicted)[:3] == [1, 2, 3]
    predicted = np.array([1.5, 1.0, 2.0, 3.0])
    order = acquisition.order(candidates, predicted)
    assert order[:2] == [1, 3]  # the lowest; then what makes the front's area grow most
    acquisition.forget()
    assert acquisition.order(candidates, predicted)[0] in (1, 3)  # nothing observed: by crowding


def test_a_restored_optimizer_tells_its_acquisition_what_was_measured(
    acquisition: ParetoOrder,
) -> None:
    optimizer = Optimizer(OneMax(), surrogate=None, acquisition=acquisition)
    acquisition.observe(measured(joules_of_a_one=2.0))  # of another search
    evaluations = [
        Evaluation(e.genome, 0, (e.values[0],)) for e in measured(joules_of_a_one=-2.0, n=5)
    ]
    first = Optimizer(OneMax(), surrogate=None)
    first.tell(evaluations)
    optimizer.load_state_dict(first.state_dict())
    assert [e.genome for e in acquisition.observed] == [e.genome for e in evaluations]
