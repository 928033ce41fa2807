"""A front that begins with the search for its first objective alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import Toy
from toys_pareto import Priced, Thrifty

from clso.config import RunConfig
from clso.evaluation.evaluator import LocalEvaluator
from clso.run import evolve, resume
from clso.search.generations import Interrupted, Listener, Search
from clso.search.held import Held
from clso.search.steady_state import SteadySearch
from clso.space import Gene, SearchSpace
from clso.space.objectives import Objectives
from clso.surrogates.linear import ridge

TOYS = Path(__file__).parents[1] / "toys_pareto.py"
CONFIG = RunConfig(
    gens=40, pop=16, space=f"{TOYS}:Thrifty", surrogate="ridge", energy="null", device="cpu",
    idle_s=0.0, objective=("fitness", "price"),
)  # fmt: skip


def _search(space: SearchSpace, kind: Callable[..., Search] = Search, **settings: Any) -> Search:
    config = replace(CONFIG, **settings)
    evaluator = LocalEvaluator(Objectives.of(config, space).complete(space.objective()))
    return kind(space, evaluator, ridge, config, Listener())


def _measured(search: Search) -> list[list[Any]]:
    """The genomes of each generation."""
    found = []
    while not search.done:
        rows = search.generation()
        found.append([tuple(row["genome"]) for row in rows if row["type"] == "evaluation"])
    return found


@pytest.mark.parametrize("kind", [Search, SteadySearch])
def test_it_measures_what_the_search_for_the_first_objective_does_and_then_saves(
    kind: Callable[..., Search],
) -> None:
    front = _search(Thrifty(), kind)
    alone = _search(Held(Thrifty()), kind, objective=())
    several, single = _measured(front), _measured(alone)
    n = CONFIG.gens - 1
    assert several[:n] == single[:n]
    assert sum(map(len, several[:n])) < n * CONFIG.pop  # a surrogate chose
    later = [genome for generation in several[n:] for genome in generation]
    assert any(any(genome[Thrifty.N_FREE :]) for genome in later)
    assert len({e.values[1] for e in front.contenders}) > 2
    assert front.screener.trusted, "what the surrogate has shown is not forgotten"
    assert front.counts["screened_out"] > alone.counts["screened_out"] / 2


def test_an_interrupted_one_ends_as_an_uninterrupted_one(tmp_path: Path) -> None:
    class Heard(Listener):
        n = 0

        def generation(self, search: Search, row: dict[str, Any]) -> None:
            self.n += 1

    evolve(CONFIG, tmp_path / "whole")
    for at in (5, CONFIG.gens - 1):
        heard, folder = Heard(), tmp_path / f"cut {at}"
        with pytest.raises(Interrupted):
            evolve(CONFIG, folder, listener=heard, stop=lambda: heard.n >= at)  # noqa: B023
        resume(folder)
        records = [(f / "records.jsonl").read_bytes() for f in (tmp_path / "whole", folder)]
        assert records[0] == records[1]


@pytest.mark.parametrize("space", [Priced(), Toy([2] * 8)])
def test_without_such_genes_nothing_is_held(space: SearchSpace) -> None:
    assert Held.of(space) is None


def test_a_space_that_draws_its_genomes_itself_is_left_alone() -> None:
    class Draws(Thrifty):
        def sample(self, rng: Any) -> tuple[int, ...]:
            return (0,) * len(self.genes)

    assert Held.of(Draws()) is None
    assert Held.of(Thrifty()) is not None


def test_conditions_stand_for_what_they_stood_for() -> None:
    class Ruled(Toy):
        genes = (  # type: ignore[assignment]
            Gene("copy", ("all", "near"), saving=True),
            Gene("reach", ("2", "4"), when=("copy", "near"), ordered=True),
            Gene("gain", ("0", "1", "2"), unless=(("copy", "near"), ("copy", "all"))),
            Gene("size", ("1", "2", "3"), unless=("copy", "near")),
            Gene("part", ("a", "b"), when=("copy", ("near", "all"))),
        )

        def __init__(self) -> None:
            super().__init__([2, 2, 3, 3, 2])

    space = Ruled()
    held = Held(space)
    assert [len(gene) for gene in held.genes] == [1, 2, 3, 3, 2]
    assert [gene.ordered for gene in held.genes] == [gene.ordered for gene in space.genes]
    for genome in ((0, 1, 2, 2, 1), (0, 0, 1, 0, 0)):
        assert held.has(genome)
        assert held.inactive(genome) == space.inactive(genome)
        assert held.key(genome) == space.key(genome)
    assert not held.has((1, 0, 0, 0, 0))


def test_a_limit_on_a_cost_holds_from_the_first_candidate_on() -> None:
    """All that is held costs 6."""
    search = _search(Thrifty(), limits=("price=5",), gens=6)
    _measured(search)
    assert all(e.values[1] <= 5 for e in search.evaluations)
    assert math.isfinite(min(e.value for e in search.contenders))
