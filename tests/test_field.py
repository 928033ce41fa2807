"""The comparison with other optimisers: its figures, its budget, and the page that is committed."""

from __future__ import annotations

import json
import math
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from closeness import assert_same_page

from benchmarks.field import ours, rivals, runs, tables
from benchmarks.field.compare import ahead, ert, mean_ranks, median_time, pair, sign_test
from benchmarks.field.contestants import CONTESTANTS, matching
from benchmarks.field.problem import Suite
from benchmarks.field.suites import load
from benchmarks.field.theory import leading_ones_time, one_max_time
from benchmarks.field.trajectory import minimise

RUNS = Path(__file__).parents[1] / "runs"


def _row(
    seed: int, best: float, found_at: int, solved: bool = True, problem: str = "p"
) -> dict[str, Any]:
    return {
        "problem": problem, "seed": seed, "best": best, "found_at": found_at, "solved": solved, "n_evaluations": 100
    }  # fmt: skip


@pytest.mark.parametrize("folder", sorted(RUNS.glob("*_field")), ids=lambda folder: folder.name)
def test_committed_page_is_that_of_the_records(folder: Path) -> None:
    assert_same_page(tables.page(folder), (folder / "README.md").read_text())


@pytest.mark.parametrize("folder", sorted(RUNS.glob("*_field")), ids=lambda folder: folder.name)
def test_committed_records_are_paired(folder: Path) -> None:
    """Every contestant met the same problems with the same seeds, once each, within the same
    budget."""
    for part in ("nasbench", "pbo"):
        met: dict[str, list[tuple[str, int]]] = {}
        rows = runs.read(folder / f"{part}.jsonl")
        for row in rows:
            met.setdefault(row["rival"], []).append((row["problem"], row["seed"]))
            assert 1 <= row["found_at"] <= row["n_evaluations"]
            assert row["n_distinct"] <= row["n_evaluations"]
        runs_of = [sorted(keys) for keys in met.values()]
        assert all(len(set(keys)) == len(keys) and keys == runs_of[0] for keys in runs_of)
        unsolved = {row["n_evaluations"] for row in rows if not row["solved"]}
        assert len(unsolved) == 1


def test_expected_running_time_and_median_count_misses() -> None:
    rows = [_row(0, 0, 40), _row(1, 0, 60), _row(2, 3, 10, solved=False)]
    assert ert(rows) == pytest.approx((40 + 60 + 100) / 2)
    assert median_time(rows) == 60
    assert median_time(rows[1:] + rows[2:]) == math.inf
    assert ert(rows[2:]) == math.inf


def test_ahead_falls_back_on_values_where_nobody_solves() -> None:
    solved, missed, worse = (
        [_row(0, 0, 90)],
        [_row(0, 1, 5, solved=False)],
        [_row(0, 2, 5, solved=False)],
    )
    assert ahead(solved, missed) == ahead(missed, worse) == 1
    assert ahead(worse, missed) == -1
    assert ahead(missed, missed) == 0


def test_pairs_ranks_and_the_sign_test() -> None:
    a = [_row(0, 0, 10), _row(1, 0, 50), _row(2, 1, 9, solved=False)]
    b = [_row(0, 0, 20), _row(1, 0, 50), _row(2, 0, 90)]
    assert pair(a, b) == (1, 1)
    assert mean_ranks({"a": a, "b": b}) == {"a": pytest.approx(1.5), "b": pytest.approx(1.5)}
    assert sign_test(5, 0) == pytest.approx(2 / 32)
    assert sign_test(3, 3) == pytest.approx(1)


def test_theory_where_every_step_is_a_uniform_draw() -> None:
    """At rate 1/2 and two bits the (1+1) algorithm is a random search, which takes 4 draws."""
    assert one_max_time(2, 0.5) == pytest.approx(4)
    assert leading_ones_time(2, 0.5) == pytest.approx(4)


def test_our_mutation_hits_onemax_in_the_time_that_theory_expects() -> None:
    times = [
        len(
            minimise(ours.mutation_only, load("onemax/16", s), 10**5, s, stop_at_optimum=True).steps
        )
        for s in range(1500)
    ]
    assert sum(times) / len(times) == pytest.approx(one_max_time(16, 1 / 16), rel=0.05)


@pytest.mark.parametrize(
    "run",
    [
        rivals.random_search,
        rivals.regularized_evolution,
        rivals.deap_ea_simple,
        rivals.deap_mu_plus_lambda,
        partial(ours.clso, surrogate=None),
        partial(ours.scaled, pop=10),
    ],
)
def test_a_run_spends_its_budget_and_repeats_by_seed(run: Any) -> None:
    first, second, other = (
        minimise(run, load("onemax/12", 0), 150, seed).steps for seed in (0, 0, 1)
    )
    assert len(first) == 150
    assert first == second != other
    assert all(value == 12 - sum(genome) for genome, value in first)


def test_our_engine_repeats_no_genome_and_stops_at_the_optimum() -> None:
    record = minimise(
        partial(ours.clso, surrogate=None), load("onemax/12", 0), 1000, 0, stop_at_optimum=True
    ).record()
    assert record["solved"]
    assert record["n_distinct"] == record["n_evaluations"] == record["found_at"]


def test_interrupted_benchmark_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    names = ("random", "regularized-evolution-20-5")
    suite = Suite("bits", "", "", ("onemax/8",), load, n_evaluations=60, rivals=names, seeds=2)
    runs.run_missing(path, suite)
    whole = path.read_text()
    assert len(whole.splitlines()) == 4
    cut = whole.splitlines(keepends=True)
    path.write_text("".join(cut[:2]) + cut[2][:20])  # killed while it wrote the third
    runs.run_missing(path, suite, jobs=0)
    keys = ("rival", "seed", "best", "found_at")
    assert [[row[k] for k in keys] for row in runs.read(path)] == [
        [row[k] for k in keys] for row in map(json.loads, whole.splitlines())
    ]
    runs.forget(path, ["random"])
    assert {row["rival"] for row in runs.read(path)} == {"regularized-evolution-20-5"}


def test_names_by_their_beginnings() -> None:
    assert matching("clso-no-,rand") == ["clso-no-surrogate", "random"]
    assert set(matching("clso")) == {c.name for c in CONTESTANTS if c.is_ours}
    assert matching("") == [c.name for c in CONTESTANTS]
    with pytest.raises(ValueError, match="none of"):
        matching("nobody")
