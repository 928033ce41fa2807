"""Rungs inside the search."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from toys import OneMax, Rungs

from clso.config import RunConfig
from clso.errors import ConfigError
from clso.evaluation.evaluator import LocalEvaluator
from clso.run import evolve, resume
from clso.search.generations import Interrupted, Listener, Search
from clso.search.promotion import Promotion
from clso.space import SearchSpace
from clso.space.results import Evaluation

TOYS = Path(__file__).parents[1] / "toys.py"
CONFIG = RunConfig(
    gens=8, pop=16, space=f"{TOYS}:Rungs", surrogate="none", energy="null", device="cpu",
    idle_s=0.0, promote=True, finalists=2,
)  # fmt: skip


def _measured(fidelity: int, values: dict[int, float]) -> list[Evaluation]:
    return [Evaluation((g,), fidelity, (v,)) for g, v in values.items()]


def test_the_best_quarter_of_a_rung_is_due_on_the_next_and_only_once() -> None:
    promotion = Promotion(3)
    promotion.observe(_measured(0, {g: float(g) for g in range(11)}))
    promotion.observe([Evaluation((99,), 0, (), "failed")])
    assert promotion.due(1) == [(0,), (1,)]
    promotion.observe(_measured(1, {0: 7.0, 1: 3.0}))
    assert promotion.due(1) == promotion.due(2) == []
    promotion.observe(_measured(0, {11: -1.0}))
    assert promotion.due(1) == [(11,)]


def test_the_highest_rung_says_how_a_genome_stands_on_the_level_of_the_first() -> None:
    promotion = Promotion(3)
    promotion.observe(_measured(0, {0: 1.0, 1: 2.0, 2: 3.0, 3: 4.0}))
    promotion.observe(_measured(1, {0: 13.0, 1: 12.0, 2: 14.0}))  # 12, 10, 11 more
    promotion.observe(_measured(2, {1: 52.0}))  # 50 more
    assert promotion.standing() == {(0,): 2.0, (1,): 2.0, (2,): 3.0}


def _search(space: SearchSpace, **settings: Any) -> Search:
    config = replace(CONFIG, **settings)
    return Search(space, LocalEvaluator(space.objective()), None, config, Listener())


def test_the_search_follows_what_held_up() -> None:
    search = _search(Rungs())
    rows = [row for _ in range(CONFIG.gens) for row in search.generation()]
    found = [row for row in rows if row["type"] == "evaluation"]
    n = Counter(row["fidelity"] for row in found)
    assert n[0] == search.engine.n_evaluated == CONFIG.gens * CONFIG.pop
    # whoever was once among the best quarter was measured there
    assert n[0] / 4 <= n[1] < n[0]
    assert n[1] / 4 - 1 <= n[2] < n[1]
    assert {row["generation"] for row in found if row["fidelity"]} == {None}
    assert search.tokens_forward == n[0] + 4 * n[1] + 16 * n[2]
    standing = search.promotion.standing()  # type: ignore[union-attr]
    assert len(standing) == n[1]
    members = [m for m in search.engine.population if m.genome in standing]
    assert members
    assert all(m.value == standing[m.genome] for m in members)
    # what was told stays what it was
    assert search.engine.best in search.evaluations


def test_an_interrupted_run_ends_the_same(tmp_path: Path) -> None:
    class Heard(Listener):
        n = 0

        def generation(self, search: Search, row: dict[str, Any]) -> None:
            self.n += 1

    whole = evolve(CONFIG, tmp_path / "whole")
    heard = Heard()
    with pytest.raises(Interrupted):
        evolve(CONFIG, tmp_path / "cut", listener=heard, stop=lambda: heard.n >= 4)
    assert resume(tmp_path / "cut")["best"] == whole["best"]
    records = [(tmp_path / name / "records.jsonl").read_bytes() for name in ("whole", "cut")]
    assert records[0] == records[1]
    assert whole["counts"]["evaluated"] == CONFIG.gens * CONFIG.pop


@pytest.mark.parametrize(
    ("space", "settings", "message"),
    [
        (OneMax(), {}, "declares one"),
        (Rungs(), {"asynchronous": True}, "an asynchronous run has no generations"),
    ],
    ids=["one rung", "asynchronous"],
)
def test_where_there_is_nothing_to_go_up(
    space: SearchSpace, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        _search(space, **settings)
