"""The benchmarks of fronts, failures and noise: their tables, and that their pages follow from the
records."""

from __future__ import annotations

import math
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from benchmarks.field import failures, fronts, noise
from benchmarks.field.experiment import TUNED, interval, measure, paired
from benchmarks.field.kernels import GENES, table
from benchmarks.field.runs import read

RUNS = Path(__file__).parents[1] / "runs"
FOLDERS: dict[str, Any] = {
    "2026-11-29_fronts": fronts,
    "2026-11-29_failures": failures,
    "2026-11-29_noise": noise,
}


@pytest.mark.parametrize("name", FOLDERS)
def test_a_page_follows_from_its_records_of_seeds_that_nothing_was_chosen_on(name: str) -> None:
    rows = read(RUNS / name / "records.jsonl")
    assert (RUNS / name / "README.md").read_text() == FOLDERS[name].page(rows)
    assert min(row["seed"] for row in rows) >= TUNED
    counts = [sum(row["variant"] == variant for row in rows) for variant in FOLDERS[name].VARIANTS]
    assert counts == [len(rows) // len(counts)] * len(counts)


def test_what_the_records_say() -> None:
    def mean(name: str, variant: str, key: str, problem: str | None = None) -> float:
        rows = read(RUNS / f"2026-11-29_{name}" / "records.jsonl")
        return fmean(
            row[key]
            for row in rows
            if row["variant"] == variant and problem in (None, row["problem"])
        )

    stated = (RUNS.parent / "docs/results.md").read_text()
    for figure in (
        f"{mean('fronts', 'CLSO', 'share', 'cifar100'):.3f} of the front's hypervolume",
        f"{mean('fronts', 'CLSO, no surrogate', 'share', 'cifar100'):.3f} without a surrogate",
        f"{mean('fronts', 'Optuna TPE', 'share', 'cifar100'):.3f} with\nOptuna's TPE",
        f"{mean('failures', 'CLSO', 'invalid'):.0f} failed evaluations",
        f"{mean('failures', 'CLSO, failures teach nothing', 'invalid'):.0f} if failures teach",
        f"{mean('failures', 'random', 'invalid'):.0f} at random",
        f"{mean('failures', 'CLSO', 'regret'):.3f} and "
        f"{mean('failures', 'CLSO, failures teach nothing', 'regret'):.3f}",
        f"{mean('noise', 'CLSO, noisy', 'regret', 'imagenet'):.3f} points behind",
        f"{mean('noise', 'CLSO', 'regret', 'imagenet'):.3f} if nothing",
        f"{mean('noise', 'CLSO', 'too_good', 'imagenet'):.3f} points too good",
    ):
        assert " ".join(figure.split()) in " ".join(stated.split())
    assert mean("fronts", "CLSO", "share", "cifar100") >= 0.95
    assert mean("failures", "CLSO", "invalid") <= 75
    assert mean("noise", "CLSO, noisy", "regret") <= 0.25
    assert abs(mean("noise", "CLSO, noisy", "too_good")) < 0.1


def test_about_half_of_a_kernels_configurations_cannot_run() -> None:
    times = table(3)
    assert len(times) == math.prod(map(len, GENES.values())) == 27_648
    assert 0.4 < fmean(map(math.isinf, times.values())) < 0.65
    assert times[0, 0, 0, 0, 0, 0, 0] == math.inf  # 16 threads are less than a warp
    assert times is table(3)


def test_rows_are_measured_once_and_compared_in_pairs(tmp_path: Path) -> None:
    calls: list[tuple[str, int]] = []

    def run(by: float) -> Any:
        def measured(problem: str, seed: int) -> dict[str, float]:
            calls.append((problem, seed))
            return {"value": by + 10 * seed}

        return measured

    variants = {"a": run(1.0), "b": run(3.0)}
    for _ in range(2):
        rows = measure(tmp_path / "records.jsonl", variants, ("p", "q"), range(3))
    assert len(calls) == len(rows) == 12
    assert paired(rows, "a", "b", "value") == (-2.0, (-2.0, -2.0))
    low, high = interval([0.0, 1.0] * 50)
    assert 0.38 < low < 0.42
    assert 0.58 < high < 0.62
