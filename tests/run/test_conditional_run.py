"""Runs of a space with conditional genes: every candidate once, resumed bit for bit, and nothing
that makes no difference is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from toys import Kernels

from clso.config import RunConfig
from clso.report.plots import slices_of
from clso.report.reading import read_run
from clso.run import evolve, resume
from clso.run.folder import RunFolder
from clso.run.progress import read_progress
from clso.run.trials import read_trials
from clso.search.generations import Interrupted, Listener, Search

SPACE = Kernels()
CONFIG = RunConfig(
    gens=8,
    pop=6,
    space=f"{Path(__file__).parents[1] / 'toys.py'}:Kernels",
    surrogate="gp",
    energy="null",
    device="cpu",
)


def genomes(folder: Path) -> list[tuple[int, ...]]:
    rows = RunFolder.open(folder).records()
    return [tuple(row["genome"]) for row in rows if row["type"] == "evaluation"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["generations", "async"])
def test_a_run_measures_every_candidate_once_and_goes_on_bit_for_bit(
    asynchronous: bool, tmp_path: Path
) -> None:
    config = CONFIG.with_options(asynchronous=asynchronous)
    result = evolve(config, tmp_path / "whole")
    asked = genomes(tmp_path / "whole")
    assert len({json.dumps(SPACE.decode(g)) for g in asked}) == len(asked) >= 20
    assert result["counts"]["evaluated"] == len(asked)
    assert result["best"]["inactive"] == ["coef", "gamma"]

    seen: list[int] = []

    class Count(Listener):
        def generation(self, search: Search, row: dict[str, Any]) -> None:
            seen.append(1)

    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "parts", listener=Count(), stop=lambda: len(seen) >= 3)
    again = resume(tmp_path / "parts")
    assert genomes(tmp_path / "parts") == asked
    assert again["best"] == result["best"]


def test_what_makes_no_difference_is_not_shown(tmp_path: Path) -> None:
    evolve(CONFIG, tmp_path / "run")
    trials = read_trials(tmp_path / "run")
    names = [gene.name for gene in SPACE.genes]
    for row, trial in zip(trials.rows(), trials.trials, strict=True):
        shown = {name: row[name] for name in names if row[name] is not None}
        assert shown == SPACE.chosen(trial.evaluation.genome)
    assert read_progress(tmp_path / "run").alleles == {"kernel": "poly", "degree": "3", "c": "1"}
    data = read_run(tmp_path / "run", [])
    assert data.alleles == {
        "kernel": "poly",
        "degree": "3",
        "coef": "off",
        "gamma": "off",
        "c": "1",
    }
    slices = dict(slices_of(trials, None))
    active = [t for t in trials.trials if SPACE.decode(t.evaluation.genome).get("gamma")]
    dots, medians = json.loads(json.dumps(slices["gamma"]["data"], default=str))
    assert len(dots["x"]) == len(active)
    assert len(medians["x"]) == len({t.evaluation.genome[3] for t in active})
