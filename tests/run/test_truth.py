"""A prediction is never a result. The original code reported 1.65 where the true loss was
log(vocabulary)."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from clso.cli.view import comparison_table, summary
from clso.config import RunConfig
from clso.plugins import load
from clso.run import evolve
from clso.run.compare import compare_runs
from clso.run.folder import RunFolder
from clso.search.generations import Listener, Search
from clso.space.build import build_space
from clso.space.language import LanguageModelSpace

TOYS = Path(__file__).parents[1] / "toys.py"


class Watch(Listener):
    """Keeps the best value that the engine ever stated."""

    def __init__(self) -> None:
        self.stated: list[float] = []

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        assert search.engine.best is not None
        self.stated += [
            search.engine.best.value,
            row["best"],
            *(i.value for i in search.engine.population),
        ]


def numbers(value: Any) -> list[float]:
    """Every float anywhere in a JSON value."""
    if isinstance(value, dict):
        return [n for v in value.values() for n in numbers(v)]
    if isinstance(value, list):
        return [n for v in value for n in numbers(v)]
    return [value] if isinstance(value, float) else []


@pytest.fixture(scope="module")
def deceived(tiny: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Watch]:
    """A run under a trusted surrogate whose predictions lie 4 nats below the truth."""
    folder, watch = tmp_path_factory.mktemp("deceived") / "run", Watch()
    config = replace(tiny, pop=16, gens=12, seed=1, surrogate=f"{TOYS}:deceiver")
    evolve(config, folder, listener=watch)
    return folder, watch


def test_no_prediction_reaches_engine_record_result_comparison_or_screen(
    deceived: tuple[Path, Watch], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, watch = deceived
    result = json.loads((folder / "result.json").read_text())
    records = list(RunFolder.open(folder).records())
    audits = [pair for r in records if r["type"] == "generation" for pair in r["audits"]]
    # The setting is the one of the original bug: screening is in force, and it believes in about
    # 1.65.
    assert result["surrogate"]["trusted"]
    assert result["counts"]["screened_out"] > 50
    assert audits
    assert all(predicted < true - 3.5 and true > 5.6 for predicted, true in audits)
    assert min(predicted for predicted, _ in audits) < 1.7

    evaluations = [r for r in records if r["type"] == "evaluation"]
    config = RunFolder.open(folder).config
    space = build_space(load("search_spaces", config.space), config, "cpu")
    assert isinstance(space, LanguageModelSpace)
    for fidelity, n_tokens in enumerate(config.fitness_tokens):
        measured = [r for r in evaluations if r["fidelity"] == fidelity]
        true = space.losses(
            [tuple(r["genome"]) for r in measured], space.blocks("fitness", n_tokens)
        ).tolist()
        assert [r["values"] for r in measured] == [[t] for t in true]

    lowest = min(r["values"][0] for r in evaluations)
    assert lowest > 5.6
    assert min(watch.stated) == min(r["values"][0] for r in evaluations if r["fidelity"] == 0)
    generations = [
        {k: v for k, v in r.items() if k != "audits"} for r in records if r["type"] == "generation"
    ]
    for row in generations:
        assert min(numbers([row["best"], row["population"]])) >= lowest
    finalists = [r["valid_loss"] for r in records if r["type"] == "finalist"]
    assert min([*finalists, *numbers(result["best"])]) > 5.6

    summary(folder, result)
    comparison_table(compare_runs(folder, [folder]))
    shown = capsys.readouterr().out
    assert f"{result['best']['test_loss']:.4f}" in shown
    assert not [n for n in re.findall(r"\b\d\.\d{4}\b", shown) if float(n) < 5.6]


def test_predictions_stand_only_in_the_audits(deceived: tuple[Path, Watch]) -> None:
    folder, _ = deceived
    for row in RunFolder.open(folder).records():
        row.pop("audits", None)
        row.pop("audit_correlation", None)
        assert not [n for n in numbers(row) if n < 5.6]


@pytest.mark.parametrize(
    ("surrogate", "reason"),
    [("Useless", "rank correlation"), ("Raises", "RuntimeError: no fit today")],
)
def test_a_useless_surrogate_is_switched_off_and_the_run_says_so(
    tiny: RunConfig, tmp_path: Path, surrogate: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(tiny, pop=32, gens=10, surrogate=f"{TOYS}:{surrogate}")
    result = evolve(config, tmp_path / "run")
    on_disk = json.loads((tmp_path / "run" / "result.json").read_text())["surrogate"]
    assert on_disk == result["surrogate"]
    assert on_disk["trusted"] is False
    assert on_disk["audit"]["disabled"] is True
    assert reason in on_disk["audit"]["reason"]
    rows = [r for r in RunFolder.open(tmp_path / "run").records() if r["type"] == "generation"]
    assert rows[-1]["evaluated"] == config.pop
    assert rows[-1]["surrogate_trusted"] is False
    summary(tmp_path / "run", result)
    assert "switched off" in capsys.readouterr().out


def test_a_run_without_a_surrogate_measures_every_candidate(
    tiny: RunConfig, tmp_path: Path
) -> None:
    result = evolve(replace(tiny, surrogate="none"), tmp_path / "run")
    assert result["counts"]["evaluated"] == tiny.pop * tiny.gens
    assert result["surrogate"]["name"] == "none"
    assert result["surrogate"]["audit"] == {
        "rank_correlation": None,
        "n": 0,
        "disabled": False,
        "reason": None,
    }
