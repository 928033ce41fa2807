"""The asynchronous search: repeatable where evaluations come in order, and sound where they do
not."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from ray_runs import TESTS, outcome
from toys import Moody, OneMax, deceiver

from clso.config import RunConfig
from clso.evaluation.evaluator import Evaluator, LocalEvaluator
from clso.run import evolve, resume
from clso.search.generations import Interrupted, Listener, Search
from clso.search.steady_state import SteadySearch
from clso.space import Genome, Objective
from clso.space.results import Evaluation
from clso.surrogates.linear import ridge


class Shuffled(Evaluator):
    """Answers in any order and any number at a time, as many workers do."""

    capacity = 12

    def __init__(self, objective: Objective, seed: int) -> None:
        self.fidelities = objective.fidelities
        self._objective, self._rng = objective, random.Random(seed)
        self._out: list[Genome] = []
        self.most_out = 0

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._out += genomes
        self.most_out = max(self.most_out, len(self._out))

    def completed(self) -> list[Evaluation]:
        self._rng.shuffle(self._out)
        n = self._rng.randint(1, max(1, len(self._out)))
        done, self._out = self._out[:n], self._out[n:]
        return self._objective.evaluate(done, 0)


CONFIG = RunConfig(
    gens=8, pop=16, space="toy", surrogate="none", asynchronous=True, energy="null", device="cpu"
)


def run(search: Search) -> list[dict[str, Any]]:
    rows = []
    while not search.done:
        rows += search.generation()
    return rows


def genomes_of(rows: list[dict[str, Any]]) -> list[tuple[int, ...]]:
    return [tuple(r["genome"]) for r in rows if r["type"] == "evaluation"]


@pytest.mark.parametrize("surrogate", [None, ridge, deceiver])
@pytest.mark.parametrize("space", [OneMax, Moody])
def test_in_any_order_nothing_is_lost_and_nothing_counts_twice(
    space: type[OneMax], surrogate: Any
) -> None:
    for seed in range(3):
        evaluator = Shuffled(space().objective(), seed)
        search = SteadySearch(space(), evaluator, surrogate, replace(CONFIG, seed=seed), Listener())
        rows = run(search)
        generations = [r for r in rows if r["type"] == "generation"]
        measured = genomes_of(rows)
        assert [r["generation"] for r in generations] == list(range(1, 9))
        assert len(measured) == len(set(measured)) == search.counts["evaluated"]
        assert search.counts["evaluated"] + search.counts["screened_out"] == 8 * 16
        assert search.counts["generations"] == 8
        assert search.optimizer.pending == []
        assert evaluator.most_out == 12
        assert all(
            a[1] in {e.value for e in search.evaluations} for r in generations for a in r["audits"]
        )


def test_screening_works_when_answers_come_late() -> None:
    """Twelve are out, so that answers come after the next proposal: their audits still count."""
    evaluator = Shuffled(OneMax().objective(), 0)
    search = SteadySearch(OneMax(), evaluator, ridge, replace(CONFIG, gens=30), Listener())
    run(search)
    assert search.screener.trusted
    assert search.screener.n_audits > 40
    assert search.counts["screened_out"] > search.counts["evaluated"]


def test_a_straggler_of_the_first_batch_holds_the_surrogate_back_and_does_not_switch_it_off() -> (
    None
):
    """Rows are learnt from in the order of proposals, so that with one straggler there are none for
    a while."""

    class Straggles(Shuffled):
        held: Genome | None = None
        n_done = 0

        def completed(self) -> list[Evaluation]:
            self.held = self.held or self._out.pop(0)
            self.n_done += 1
            if self.n_done == 60 or not self._out:
                self._out.append(self.held)
            done, self._out = self._out[:1], self._out[1:]
            return self._objective.evaluate(done, 0)

    evaluator = Straggles(OneMax().objective(), 0)
    search = SteadySearch(OneMax(), evaluator, ridge, replace(CONFIG, gens=20), Listener())
    while search.screener.n_audits == 0:
        search.generation()
        assert not search.screener.disabled
    assert evaluator.n_done > 60


def test_equal_seeds_give_equal_runs_where_answers_come_in_order() -> None:
    def once(seed: int) -> list[dict[str, Any]]:
        evaluator = LocalEvaluator(OneMax().objective())
        return run(SteadySearch(OneMax(), evaluator, ridge, replace(CONFIG, seed=seed), Listener()))

    assert once(1) == once(1)
    assert once(1) != once(2)


def test_how_many_answers_come_at_a_time_changes_nothing() -> None:
    class OneByOne(LocalEvaluator):
        def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
            self._queue += [([g], fidelity) for g in genomes]

        def completed(self) -> list[Evaluation]:
            queue, self._queue = self._queue[1:], self._queue[:1]
            done = super().completed()
            self._queue = queue
            return done

    together, single = (
        run(SteadySearch(OneMax(), kind(OneMax().objective()), ridge, CONFIG, Listener()))
        for kind in (LocalEvaluator, OneByOne)
    )
    assert together == single


def test_a_better_result_than_random_from_the_same_number_of_evaluations() -> None:
    evaluator = Shuffled(OneMax().objective(), 0)
    search = SteadySearch(OneMax(), evaluator, None, replace(CONFIG, gens=20), Listener())
    run(search)
    rng = random.Random(0)
    best_random = min(
        e.value for e in OneMax().measure([OneMax().sample(rng) for _ in range(20 * 16)])
    )
    assert search.engine.best is not None
    assert search.engine.best.value < best_random - 2


def test_patience_ends_it_and_what_is_out_still_counts() -> None:
    evaluator = Shuffled(OneMax().objective(), 0)
    search = SteadySearch(
        OneMax(), evaluator, None, replace(CONFIG, gens=500, patience=4), Listener()
    )
    rows = run(search)
    assert search.n_generations < 500
    assert evaluator.completed() == []
    assert len(genomes_of(rows)) == len(search.evaluations) == search.counts["evaluated"]


def test_a_space_that_is_exhausted(tiny: RunConfig, tmp_path: Path) -> None:
    space = f"{TESTS / 'toys.py'}:FourGenomes"
    result = evolve(
        replace(tiny, space=space, surrogate="none", gens=50, asynchronous=True, options={}),
        tmp_path / "run",
    )
    assert result["counts"]["evaluated"] == 4
    assert result["best"]["genome"] == [0, 0]


@pytest.mark.parametrize("surrogate", ["none", "ridge"])
def test_stopping_after_every_generation_changes_nothing(
    tiny: RunConfig, tmp_path: Path, surrogate: str
) -> None:
    config = replace(
        tiny,
        asynchronous=True,
        surrogate=surrogate,
        gens=10,
        space=f"{TESTS / 'toys.py'}:OneMax",
        options={},
    )
    evolve(config, tmp_path / "whole")
    folder = tmp_path / "stopped"

    class Once(Listener):
        seen = False

        def generation(self, search: Search, row: dict[str, Any]) -> None:
            self.seen = True

    first = Once()
    with pytest.raises(Interrupted):
        evolve(config, folder, listener=first, stop=lambda: first.seen)
    for _ in range(8):
        once = Once()
        with pytest.raises(Interrupted):
            resume(folder, listener=once, stop=lambda once=once: once.seen)  # type: ignore[misc]
    resume(folder)
    assert outcome(folder) == outcome(tmp_path / "whole")


def test_the_mode_is_part_of_the_settings(tiny: RunConfig, tmp_path: Path) -> None:
    result = evolve(replace(tiny, asynchronous=True), tmp_path / "run")
    assert RunConfig.from_toml(tmp_path / "run" / "config.toml").asynchronous
    assert result["counts"]["evaluated"] == tiny.gens * tiny.pop
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["workers"]["n"] == 0
