"""Steps along a scale are taken as often as they win."""

from __future__ import annotations

import random

import pytest
from toys import Toy

from clso import EngineConfig, Gene
from clso.engine import Engine
from clso.engine.steps import Steps
from clso.space.results import Evaluation


def test_either_kind_of_step_is_taken_as_it_has_won() -> None:
    steps = Steps([20, 20], [0], random.Random(0))
    assert steps.share == 0.5
    best = (10, 10)
    for _ in range(50):
        steps.credit(best, 1.0, [Evaluation((11, 10), 0, (0.5,)), Evaluation((3, 10), 0, (2.0,))])
    assert steps.share > 0.8
    again = Steps([20, 20], [0], random.Random(0))
    again.load_state_dict(steps.state_dict())
    assert again.share == steps.share
    for _ in range(200):
        steps.credit(best, 1.0, [Evaluation((11, 10), 0, (2.0,)), Evaluation((3, 10), 0, (0.5,))])
    assert steps.share == pytest.approx(0.1, abs=0.1)


def test_what_changes_more_or_other_genes_tells_nothing() -> None:
    steps = Steps([20, 20], [0], random.Random(0))
    steps.credit((10, 10), 1.0, [Evaluation(g, 0, (0.0,)) for g in ((11, 11), (10, 11), (10, 10))])
    assert steps.share == 0.5


@pytest.mark.parametrize("at", [0, 10, 19])
def test_every_other_allele_can_be_reached_and_near_ones_sooner(at: int) -> None:
    steps = Steps([20, 20], [0], random.Random(0))
    seen = [0] * 20
    for _ in range(4000):
        child = [at, at]
        steps.change(child, 0)
        assert child[1] == at
        seen[child[0]] += 1
    assert seen[at] == 0
    assert all(n for i, n in enumerate(seen) if i != at)
    near = [seen[i] for i in (at - 1, at + 1) if 0 <= i < 20]
    assert min(near) > max(n for i, n in enumerate(seen) if abs(i - at) > 4)


def test_genes_of_no_order_change_as_before() -> None:
    space = Toy([4] * 8)
    assert not any(gene.ordered for gene in space.genes)
    engine = Engine(space, EngineConfig(pop_size=4), seed=0)
    assert engine.state_dict()["steps"] == {"wins": [0.0, 0.0], "tries": [0.0, 0.0]}
    assert Gene("a", ("0", "1", "2"), ordered=True).ordered
