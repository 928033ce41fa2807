"""Runs are named by their seeds: what the default search proposes must not change unseen. Alleles
only: no rounding."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable

import pytest
from toys import Toy
from toys_pareto import Lotz

from clso.engine import Engine, EngineConfig, ParetoEngine
from clso.space import Genome
from clso.space.results import Evaluation

RUGGED = Toy([2, 3, 4, 5] * 4, lambda g: float(sum((7 * a + 3 * i) % 5 for i, a in enumerate(g))))
SMALL = Toy([3] * 6, lambda g: float(sum(g)))


def single(space: Toy, config: EngineConfig) -> Callable[[], list[Genome]]:
    def run() -> list[Genome]:
        engine, asked = Engine(space, config, seed=7), list[Genome]()
        for n in (None, None, 7, None, 1, 1, 5) * 3:
            asked += engine.ask(n)
            engine.tell(space.measure(asked[engine.n_evaluated :]))
        return asked

    return run


def pareto() -> list[Genome]:
    space, asked = Lotz(12), list[Genome]()
    engine = ParetoEngine(
        space, EngineConfig(pop_size=16, tournament=2), upper=(math.inf, math.inf), seed=7
    )
    for _ in range(12):
        asked += engine.ask()
        engine.tell(
            [Evaluation(e.genome, 0, e.values) for e in space.both(asked[engine.n_evaluated :])]
        )
    return asked


@pytest.mark.parametrize(
    ("run", "digest"),
    [
        pytest.param(single(RUGGED, EngineConfig()), "d5ee558a6ea94e3f", id="default"),
        pytest.param(
            single(RUGGED, EngineConfig(pop_size=10)), "49c4a5387ef3d9dc", id="small population"
        ),
        pytest.param(
            single(SMALL, EngineConfig(pop_size=10)), "e7a8e4baf7ee92a8", id="small space"
        ),
        pytest.param(
            single(SMALL, EngineConfig.one_plus_one()), "7c61e3aab2f449bc", id="one plus one"
        ),
        pytest.param(pareto, "e35eb2a0a5d443ce", id="pareto"),
    ],
)
def test_the_proposals_are_pinned(run: Callable[[], list[Genome]], digest: str) -> None:
    found = hashlib.sha256(str(run()).encode()).hexdigest()[:16]
    assert found == digest
