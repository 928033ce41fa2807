"""Whole runs: the same seed gives the same run, and what goes wrong inside one is said."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from waiting import HANG_S

from clso.config import RunConfig
from clso.energy import EnergyMeter
from clso.errors import (
    ConfigError,
    DataError,
    EnergyError,
    EvaluationError,
    PluginError,
    RunFolderError,
)
from clso.models.gpt2 import text_loss
from clso.models.hf import load_hf
from clso.plugins import load
from clso.run import evolve, resume
from clso.run.finished import evaluate_run
from clso.run.folder import RunFolder
from clso.run.manifest import describe_code
from clso.search.generations import Interrupted, Listener, Search
from clso.space.build import build_space
from clso.space.context import SpaceContext
from clso.space.language import LanguageModelSpace, token_blocks

TOYS = Path(__file__).parents[1] / "toys.py"


def rows(folder: Path, kind: str) -> list[dict[str, Any]]:
    return [r for r in RunFolder.open(folder).records() if r["type"] == kind]


def timeless(result: dict[str, Any]) -> dict[str, Any]:
    surrogate = {k: v for k, v in result["surrogate"].items() if k != "fit_time_s"}
    return {k: v for k, v in result.items() if "time" not in k} | {"surrogate": surrogate}


def space_of(folder: Path) -> LanguageModelSpace:
    config = RunFolder.open(folder).config
    space = build_space(load("search_spaces", config.space), config, "cpu")
    assert isinstance(space, LanguageModelSpace)
    return space


def test_a_run_folder_holds_what_the_design_says(tiny: RunConfig, finished_run: Path) -> None:
    names = {p.name for p in finished_run.iterdir()}
    files = {
        "SHA256SUMS",
        "checkpoint.json",
        "config.toml",
        "manifest.json",
        "records.jsonl",
        "result.json",
        "times.jsonl",
    }
    assert names == {".lock", "best", *files}
    assert RunFolder.open(finished_run).config == tiny
    result = json.loads((finished_run / "result.json").read_text())
    assert set(result["best"]) >= {"genome", "alleles", "valid_loss", "test_loss"}
    assert json.loads((finished_run / "manifest.json").read_text())["code"] == describe_code()
    evaluations, generations = rows(finished_run, "evaluation"), rows(finished_run, "generation")
    first_rung = [r for r in evaluations if r["fidelity"] == 0]
    assert (
        result["counts"]["evaluated"]
        == len(first_rung)
        == len({tuple(r["genome"]) for r in first_rung})
    )
    assert result["counts"]["evaluated"] + result["counts"]["screened_out"] == tiny.gens * tiny.pop
    assert [g["generation"] for g in generations] == list(range(1, tiny.gens + 1))
    assert result["energy_j"] is None
    assert "switched off" in result["energy_reason"]
    assert set(result["time_s"]) == {"data", "library", "search", "validate", "test", "total"}
    times = result["time_s"]
    assert times["total"] == pytest.approx(times["library"] + times["search"] + times["validate"])
    assert result["seed"] == tiny.seed
    assert result["log_vocabulary"] == math.log(300)


def test_every_forward_token_up_to_the_choice_is_counted(
    tiny: RunConfig, finished_run: Path
) -> None:
    result = json.loads((finished_run / "result.json").read_text())
    space = space_of(finished_run)
    in_search = sum(r["n_tokens"] for r in rows(finished_run, "evaluation"))
    n_sampled = space.blocks("valid", tiny.valid_tokens)[:, 1:].numel()
    in_choice = (len(rows(finished_run, "finalist")) + 1) * n_sampled  # and the winner, from disk
    assert result["tokens_forward"] == in_search + in_choice


def test_the_winner_is_the_best_finalist_on_valid_and_its_losses_are_those_of_the_model_on_disk(
    tiny: RunConfig, finished_run: Path
) -> None:
    best = json.loads((finished_run / "result.json").read_text())["best"]
    finalists = rows(finished_run, "finalist")
    assert len(finalists) == tiny.finalists
    assert min(finalists, key=lambda r: r["valid_loss"])["genome"] == best["genome"]
    space = space_of(finished_run)
    model = load_hf(finished_run / "best")
    for split in ("valid", "test"):
        assert best[f"{split}_loss"] == text_loss(
            model, token_blocks(space.corpus.tokens(split), int(tiny.options["n_positions"]))
        )
    top = sorted(
        (r for r in rows(finished_run, "evaluation") if r["fidelity"] == 1),
        key=lambda r: r["values"],
    )
    assert [r["genome"] for r in top[: tiny.finalists]] == [f["genome"] for f in finalists]


def test_the_same_seed_twice_and_another_seed(
    tiny: RunConfig, finished_run: Path, tmp_path: Path
) -> None:
    again = evolve(tiny, tmp_path / "again")
    assert timeless(again) == timeless(json.loads((finished_run / "result.json").read_text()))
    for name in ("records.jsonl", "best/model.safetensors", "config.toml"):
        assert (tmp_path / "again" / name).read_bytes() == (finished_run / name).read_bytes()
    other = evolve(replace(tiny, seed=1), tmp_path / "other")
    assert other["best"]["genome"] != again["best"]["genome"]


def test_a_grown_library_is_as_reproducible(tiny: RunConfig, tmp_path: Path) -> None:
    config = tiny.with_options(options={"library": "grown", "n_layers": 2, "d_model": 32})
    listener = StopAt(3)
    whole = evolve(config, tmp_path / "whole")
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "stopped", listener=listener, stop=listener.stop)
    assert timeless(resume(tmp_path / "stopped")) == timeless(whole)
    for name in ("records.jsonl", "best/model.safetensors"):
        assert (tmp_path / "stopped" / name).read_bytes() == (
            tmp_path / "whole" / name
        ).read_bytes()
    assert whole["best"]["test_loss"] < whole["log_vocabulary"] - 1  # it knows something
    assert evaluate_run(tmp_path / "whole")["loss"] == whole["best"]["test_loss"]


def test_the_hash_seed_changes_nothing_and_a_run_imports_no_compiler_and_no_ray(
    tiny: RunConfig, finished_run: Path, tmp_path: Path
) -> None:
    """A compiler takes two seconds, and they would be charged to the run; Ray is for workers."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(tiny.to_toml())
    assert sys.flags.hash_randomization  # this process has another one
    code = (
        "import sys\nfrom clso.cli import main\ntry:\n    main()\n"
        "finally:\n    open('imported', 'w').write('\\n'.join(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "evolve", "--config", recipe, "--out", "run", "--json"],
        cwd=tmp_path,
        # A cache of its own: the tokenizer and the token files must not depend on it either.
        env={**os.environ, "PYTHONHASHSEED": "4242", "CLSO_CACHE": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert timeless(json.loads(done.stdout)) == timeless(
        json.loads((finished_run / "result.json").read_text())
    )
    imported = set((tmp_path / "imported").read_text().splitlines())
    assert "torch" in imported
    assert not imported & {"torch._dynamo", "ray"}


def test_patience_stops_a_run_that_gets_no_better(tiny: RunConfig, tmp_path: Path) -> None:
    plugin = tmp_path / "flat.py"
    plugin.write_text(
        f"import sys; sys.path.insert(0, {str(TOYS.parent)!r})\n"
        "from toys import Toy\n\n\nclass Flat(Toy):\n    def __init__(self):\n"
        "        super().__init__([4] * 6, lambda g: 1.0)\n"
    )
    result = evolve(
        replace(tiny, gens=50, patience=3, space=f"{plugin}:Flat", options={}), tmp_path / "run"
    )
    assert result["counts"]["generations"] == 4
    assert result["best"]["fitness"] == 1.0


def test_failures_are_statuses_in_the_record_and_never_win(tiny: RunConfig, tmp_path: Path) -> None:
    result = evolve(replace(tiny, pop=24, space=f"{TOYS}:Moody", options={}), tmp_path / "run")
    found = {status: [r for r in rows(tmp_path / "run", "evaluation") if r["status"] == status] for status in
             ("ok", "failed", "non_finite")}  # fmt: skip
    assert all(found.values())
    assert all("a bad day" in r["error"] and r["values"] == [] for r in found["failed"])
    assert all(r["values"] == [] for r in found["non_finite"])
    assert result["counts"]["failed"] == len(found["failed"]) + len(found["non_finite"])
    assert result["best"]["fitness"] == min(r["values"][0] for r in found["ok"])


@pytest.mark.parametrize(
    ("change", "error", "rule"),
    [
        ({"space": f"{TOYS}:AlwaysNan", "options": {}}, EvaluationError, "can be measured"),
        ({"space": f"{TOYS}:NOT_A_SPACE"}, PluginError, "subclass of clso.space.SearchSpace"),
        ({"space": f"{TOYS}:Missing"}, PluginError, "Missing"),
        ({"space": "nowhere.py:Space"}, PluginError, "names a file"),
        ({"space": "gtp2"}, PluginError, "Did you mean 'gpt2'"),
        ({"surrogate": "rigde"}, PluginError, "Did you mean 'ridge'"),
        ({"surrogate": f"{TOYS}:NOT_A_SPACE"}, PluginError, "make"),
        ({"data": "text:/nowhere/at/all"}, DataError, "no such file"),
        ({"tokenizer": "bpe:x"}, DataError, "bpe"),
        ({"energy": "sunlight"}, EnergyError, "energy source"),
        ({"options": {"n_heads": 3}}, ConfigError, "multiple"),
        ({"options": {"d_model": 0, "n_heads": 1}}, ConfigError, "at least 1"),
        (
            {"options": {"library": "random", "n_positions": 4000}},
            DataError,
            "at least 4001 tokens",
        ),
    ],
)
def test_a_run_that_cannot_start_leaves_nothing_behind(
    tiny: RunConfig, tmp_path: Path, change: dict[str, Any], error: type[Exception], rule: str
) -> None:
    with pytest.raises(error, match=rule):
        evolve(replace(tiny, **change), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_valid_and_test_are_known_to_be_long_enough_before_the_search(
    tiny: RunConfig, tmp_path: Path
) -> None:
    class NoSearch(Listener):
        def generation(self, search: Search, row: dict[str, Any]) -> None:
            raise AssertionError("the search began")

    # 1,730 tokens of valid; the fitness text is longer
    config = tiny.with_options(fitness_tokens=(2000,), options={"n_positions": 2000})
    with pytest.raises(DataError, match="at least 2001 tokens"):
        evolve(config, tmp_path / "run", listener=NoSearch())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_anything_is_refused_and_left_alone(
    tiny: RunConfig, finished_run: Path, tmp_path: Path
) -> None:
    before = {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()}
    with pytest.raises(RunFolderError, match="clso resume"):
        evolve(tiny, finished_run)
    assert {p.name: p.stat().st_mtime_ns for p in finished_run.iterdir()} == before
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="new folder"):
        evolve(tiny, tmp_path)
    with pytest.raises(RunFolderError, match="new folder"):
        evolve(tiny, tmp_path / "notes.txt")
    with pytest.raises(RunFolderError, match="can be"):
        evolve(tiny, tmp_path / "notes.txt" / "run")
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert [p.name for p in tmp_path.iterdir()] == ["notes.txt"]


class TenWatts:
    """An energy source with which a second costs ten joules."""

    source, reason, n_units, resolution_s = "ten-watts", None, 1, 0.0
    begun = 0.0

    def begin(self) -> None:
        self.begun = time.perf_counter()

    def end(self) -> float:
        return 10 * (time.perf_counter() - self.begun)

    def close(self) -> None:
        pass


@pytest.fixture
def metered(tiny: RunConfig, monkeypatch: pytest.MonkeyPatch) -> RunConfig:
    monkeypatch.setattr(
        "clso.run.run.open_meter", lambda source, device: EnergyMeter(TenWatts(), ())
    )
    return replace(tiny, space=f"{TOYS}:OneMax", idle_s=0.01, options={})


class StopAt(Listener):
    """Asks for a stop after some generations, or raises as a second Ctrl-C does."""

    def __init__(self, generations: int, *, brutal: bool = False) -> None:
        self.left, self.brutal = generations, brutal

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self.left -= 1
        if self.brutal and self.left == 0:
            raise KeyboardInterrupt

    def stop(self) -> bool:
        return not self.brutal and self.left <= 0


def test_joules_of_every_phase_are_charged(metered: RunConfig, tmp_path: Path) -> None:
    result = evolve(metered, tmp_path / "run")
    energy = result["energy_j"]
    assert energy["source"] == "ten-watts"
    assert result["energy_reason"] is None
    for phase, joules in energy["gross"].items():
        assert joules == pytest.approx(10 * result["time_s"][phase], rel=0.1, abs=2e-3)
    gross = energy["gross"]
    assert gross["total"] == pytest.approx(gross["library"] + gross["search"] + gross["validate"])
    assert energy["net"]["total"] < gross["total"]


def test_a_graceful_stop_loses_no_joule(metered: RunConfig, tmp_path: Path) -> None:
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        evolve(metered, tmp_path / "run", listener=listener, stop=listener.stop)
    spent = json.loads((tmp_path / "run" / "checkpoint.json").read_text())["state"]["ledger"]
    result = resume(tmp_path / "run")
    for phase in ("library", "search"):
        assert result["energy_j"]["gross"][phase] > spent[phase]["energy_j"] > 0
        assert result["time_s"][phase] > spent[phase]["time_s"] > 0


def test_a_cut_run_claims_no_joules(metered: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        evolve(metered, tmp_path / "run", listener=StopAt(3, brutal=True))
    result = resume(tmp_path / "run")
    assert result["energy_j"] is None
    assert "killed" in result["energy_reason"]
    assert result["counts"]["generations"] == metered.gens


def test_a_resumption_that_is_cut_claims_no_joules(metered: RunConfig, tmp_path: Path) -> None:
    """The checkpoint of a graceful stop is clean; work done after it and lost must not go
    unnoticed."""
    listener = StopAt(2)
    with pytest.raises(Interrupted):
        evolve(metered, tmp_path / "run", listener=listener, stop=listener.stop)
    with pytest.raises(KeyboardInterrupt):
        resume(tmp_path / "run", listener=StopAt(1, brutal=True))
    assert resume(tmp_path / "run")["energy_j"] is None


def test_a_run_that_is_killed_before_its_first_checkpoint_claims_no_joules(
    metered: RunConfig, tmp_path: Path
) -> None:
    RunFolder.create(tmp_path / "run", metered).close()  # all that such a kill leaves
    result = resume(tmp_path / "run")
    assert result["energy_j"] is None
    assert "killed" in result["energy_reason"]


def test_a_third_partys_space_needs_nothing_of_the_context(tiny: RunConfig) -> None:
    context = SpaceContext(load_corpus=lambda: pytest.fail("no corpus is needed"), device="cpu")
    space = load("search_spaces", f"{TOYS}:OneMax").value.from_context(context)
    assert len(space.genes) == 24
