"""A whole proof over a source of known watts: its rows, its verdict, and what they must agree
in."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from clso.config import RunConfig
from clso.data import load_corpus
from clso.data.shared import in_memory
from clso.energy import EnergyMeter
from clso.energy.backend import NullBackend
from clso.errors import ConfigError, DataError, RunFolderError
from clso.prove import ProveConfig, prove
from clso.run import evolve, resume
from clso.run.folder import RunFolder

from .conftest import Proof
from .steady import WATTS, SteadySource

SIDES = ("clso", "adamw_best", "adamw_reference")


def tried_of(sweep: list[dict[str, Any]]) -> list[tuple[float, str, int]]:
    return [(r["lr"], r["schedule"], r["steps"]) for r in sweep]


def rows(proof: Proof, kind: str) -> list[dict[str, Any]]:
    return [
        r
        for r in map(json.loads, (proof.path / "records.jsonl").read_text().splitlines())
        if r["type"] == kind
    ]


def test_the_folder_holds_the_evidence(proof: Proof) -> None:
    names = {p.name for p in proof.path.iterdir()}
    assert names == {".lock", "config.toml", "manifest.json", "records.jsonl", "verdict.json", "report.md",
                     "pareto.png", "targets.png", "power.png"}  # fmt: skip
    assert json.loads((proof.path / "verdict.json").read_text()) == proof.verdict
    manifest = json.loads((proof.path / "manifest.json").read_text())
    assert manifest["plugins"]["baseline"]["name"] == "adamw"
    assert manifest["code"]["version"]
    assert ProveConfig.from_toml(proof.path / "config.toml").seeds == 2


def test_the_windows_are_in_the_order_a_b_b_a_against_either(proof: Proof) -> None:
    order = [w["arm"] for w in rows(proof, "window")]
    for other in ("adamw_reference", "adamw_best"):
        assert [a for a in order if a in ("clso", other)] == ["clso", other, other, "clso"]


def test_windows_are_long_enough_hold_whole_cycles_and_their_runs_add_up(
    proof: Proof, settings: ProveConfig
) -> None:
    for w in rows(proof, "window"):
        assert w["time_s"] >= settings.window_s
        assert [run[0] for run in w["runs"]] == [0, 1] * (w["n_runs"] // 2)
        assert math.fsum(run[1] for run in w["runs"]) == pytest.approx(w["time_s"])
        assert math.fsum(run[2] for run in w["runs"]) == pytest.approx(w["energy_j"])
        assert w["energy_j"] == pytest.approx(WATTS * w["time_s"], rel=0.05)
        assert w["cpu_time_s"] > 0
        for t, watts in w["power_w"]:
            assert 0 < t <= w["time_s"]
            assert watts == pytest.approx(WATTS, rel=0.1)
    assert any(w["power_w"] for w in rows(proof, "window"))


def test_joules_in_the_verdict_are_those_of_whole_runs_gross_and_net(proof: Proof) -> None:
    v = proof.verdict
    assert (v["energy_source"], v["energy_claim"], v["seeds"]) == ("steady", True, 2)
    assert 0.2 * WATTS < v["idle_w"] < 0.9 * WATTS
    for side in SIDES:
        assert v[side]["energy_j"] == pytest.approx(WATTS * v[side]["time_s"], rel=0.05)
        assert v[side]["energy_net_j"] == pytest.approx(
            (WATTS - v["idle_w"]) * v[side]["time_s"], rel=0.1
        )
        windows = [w for w in rows(proof, "window") if w["arm"] == side]
        by_seed = [
            sum(sum(r[2] for r in w["runs"] if r[0] == s) / (w["n_runs"] / 2) for w in windows) / 2
            for s in (0, 1)
        ]
        assert v[side]["energy_j"] == pytest.approx(median(by_seed))
        assert v[side]["energy_by_seed_j"] == pytest.approx(by_seed)
    ratio = v["energy_ratio"]
    assert ratio["value"] == pytest.approx(v["clso"]["energy_j"] / v["adamw_best"]["energy_j"])
    assert ratio["low"] <= ratio["value"] <= ratio["high"]


def test_losses_are_medians_over_seeds_of_models_read_from_disk(
    proof: Proof, small: RunConfig
) -> None:
    for side in SIDES:
        models = [m for m in rows(proof, "model") if m["arm"] == side]
        assert [m["seed"] for m in models] == [0, 1]
        assert proof.verdict[side]["test_loss"] == pytest.approx(
            median(m["test_loss"] for m in models)
        )
        assert proof.verdict[side]["test_loss_by_seed"] == [m["test_loss"] for m in models]
    # The same seed is the same run: a window's run scored its winner as the model row did.
    for seed in (0, 1):
        valid = next(
            m["valid_sample_loss"]
            for m in rows(proof, "model")
            if m["arm"] == "clso" and m["seed"] == seed
        )
        in_windows = {
            r[3]
            for w in rows(proof, "window")
            if w["arm"] == "clso"
            for r in w["runs"]
            if r[0] == seed
        }
        assert in_windows == {valid}


def test_a_clso_run_is_the_one_that_evolve_makes(
    proof: Proof, small: RunConfig, tmp_path: Path
) -> None:
    result = evolve(small.with_options(seed=1, energy="null"), tmp_path / "run")
    row = next(m for m in rows(proof, "model") if m["arm"] == "clso" and m["seed"] == 1)
    assert row["test_loss"] == result["best"]["test_loss"]
    assert row["genome"] == result["best"]["genome"]
    assert row["counts"] == result["counts"]
    assert row["tokens_forward"] == result["tokens_forward"]
    assert [g[0] for g in row["generations"]] == [1, 2]


def test_the_strongest_adamw_is_the_best_of_the_sweep_trained_to_its_best_step(
    proof: Proof,
) -> None:
    sweep = rows(proof, "sweep")
    lengths = {("constant", 8), ("cosine", 4), ("cosine", 8)}
    coarse = {(lr, schedule, n) for lr in (1e-3, 1e-2) for schedule, n in lengths}
    assert {t for t, r in zip(tried_of(sweep), sweep, strict=True) if "variant" not in r} == coarse
    fine = [r for r in sweep if "variant" in r]
    assert [r["variant"] for r in fine] == [{"betas": [0.9, 0.95]}] * 2
    assert fine[1]["lr"] == pytest.approx(1.5 * fine[0]["lr"])
    best = min((loss, step, r["lr"], r["schedule"]) for r in sweep for step, loss in r["curve"])
    v = proof.verdict["adamw_best"]
    assert v["sweep_valid_loss"] == best[0]
    assert v["plan"].startswith(f"{best[2]:g} {best[3]}, {best[1]} ")
    assert v["test_loss"] < proof.verdict["adamw_reference"]["test_loss"]
    assert proof.verdict["sweep"]["energy_j"] == pytest.approx(sum(r["energy_j"] for r in sweep))


def test_curves_targets_and_misses(proof: Proof) -> None:
    curve = {r["key"]: r for r in rows(proof, "curve")}
    # 50 steps and 9 generations are more than were asked of either side; one step is before the
    # first scoring.
    lengths = {"curve/adamw/1", "curve/adamw/4", "curve/adamw/8", "curve/clso/1"}
    assert {key for key in curve if "steps" not in key} == lengths
    for key in set(curve) - lengths:  # of the sweep's front; which they are depends on time
        assert key == f"curve/adamw/{curve[key]['plan']}"
    assert curve["curve/adamw/1"]["valid_loss"] > curve["curve/adamw/8"]["valid_loss"]
    targets = proof.verdict["targets"]
    assert [t["valid_loss"] for t in targets] == sorted(
        (t["valid_loss"] for t in targets), reverse=True
    )
    lowest = next(t for t in targets if t["target"] == "CLSO")
    assert proof.verdict["clso"]["valid_loss"] < proof.verdict["adamw_best"]["valid_loss"]
    assert lowest["adamw"] is None  # it never came there
    assert lowest["clso"] <= proof.verdict["clso"]["energy_j"]
    assert "∞ (never)" in (proof.path / "report.md").read_text()


def test_controls(proof: Proof) -> None:
    found = {c["name"]: c for c in proof.verdict["controls"]}
    (mixed,) = (name for name in found if name.startswith("AdamW and memory: "))
    others = {"unigram", "kn2", "kn3", "random-search", "random-crystals", "memory"}
    assert set(found) == others | {mixed}
    assert found[mixed]["test_loss"] < proof.verdict["adamw_best"]["test_loss"]
    assert found["memory"]["test_loss"] < found["kn3"]["test_loss"]
    assert found["random-crystals"]["test_loss"] > math.log(256) - 0.5
    assert found["kn2"]["test_loss"] < found["unigram"]["test_loss"]
    own = next(m for m in rows(proof, "model") if m["arm"] == "clso" and m["seed"] == 0)
    searched = next(r for r in rows(proof, "control") if r["name"] == "random-search")
    assert searched["counts"]["evaluated"] == own["counts"]["evaluated"]
    assert all(c["energy_j"] > 0 for c in found.values())


def test_what_is_short_of_the_protocol_is_said(proof: Proof) -> None:
    assert proof.verdict["protocol_met"] is False
    text = (proof.path / "report.md").read_text()
    for deviation in proof.verdict["deviations"]:
        assert deviation in text
    assert any("60 s" in d for d in proof.verdict["deviations"])
    assert "**This does not meet the protocol:**" in text


def test_killed_in_a_window_it_resumes_at_that_window(
    proof: Proof, small: RunConfig, tmp_path: Path
) -> None:
    """SIGKILL while the third window is measured; the row that a kill in mid-write tears is cut
    off, too."""
    path, recipe = tmp_path / "proof", proof.path / "config.toml"
    # Not `tests.prove`: some distributions install a package `tests` of their own.
    command = [sys.executable, "-m", "prove.killed", str(recipe), str(path)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]
    ) as child:
        assert child.stdout is not None
        assert any("window/3/" in line for line in child.stdout), "it ended before its third window"
        child.kill()
    kept = (path / "records.jsonl").read_bytes()
    assert json.loads(kept.splitlines()[-1])["key"] == "window/2/adamw_reference"
    with open(path / "records.jsonl", "ab") as file:
        file.write(b'{"key":"window/3/adamw_best","type":"win')
    said: list[str] = []
    settings = ProveConfig.from_toml(recipe)
    verdict = prove(small, settings, path, progress=said.append, make_meter=SteadySource().meter)
    data = (path / "records.jsonl").read_bytes()
    assert data.startswith(kept)
    new = [json.loads(line)["key"] for line in data[len(kept) :].splitlines()]
    # its own idle, then what was cut
    assert new[:3] == [
        "session/2",
        "idle/before/2",
        "window/3/adamw_best",
    ]
    assert not any("sweep:" in line or "window/2" in line for line in said)
    whole = [
        r["key"] for r in map(json.loads, (proof.path / "records.jsonl").read_text().splitlines())
    ]
    found = [r["key"] for r in map(json.loads, data.splitlines())]
    # which plans lie on the sweep's front depends on the seconds that they took
    assert sorted(key for key in found if " steps" not in key) == sorted(
        key for key in [*whole, "session/2", "idle/before/2"] if " steps" not in key
    )
    for side in ("clso", "adamw_reference"):
        assert verdict[side]["test_loss"] == proof.verdict[side]["test_loss"]


def test_a_finished_proof_is_not_measured_again(
    proof: Proof, small: RunConfig, settings: ProveConfig
) -> None:
    before = (proof.path / "records.jsonl").read_bytes()
    assert prove(small, settings, proof.path, make_meter=SteadySource().meter) == proof.verdict
    assert (proof.path / "records.jsonl").read_bytes() == before


def test_other_settings_or_another_device_are_refused(
    proof: Proof, small: RunConfig, settings: ProveConfig, tmp_path: Path
) -> None:
    with pytest.raises(RunFolderError, match="the settings that it was begun with"):
        prove(small, replace(settings, seeds=3), proof.path, make_meter=SteadySource().meter)
    path = tmp_path / "proof"
    path.mkdir()
    (path / "config.toml").write_bytes((proof.path / "config.toml").read_bytes())
    manifest = json.loads((proof.path / "manifest.json").read_text())
    manifest["agree"]["device"] = "NVIDIA H100"
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(RunFolderError, match="the same device"):
        prove(small, settings, path, make_meter=SteadySource().meter)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "diary.txt").write_text("mine")
    with pytest.raises(RunFolderError, match="new folder"):
        prove(small, settings, tmp_path / "full", make_meter=SteadySource().meter)


def test_evolve_does_not_resume_a_proof(proof: Proof) -> None:
    before = (proof.path / "records.jsonl").read_bytes()
    with pytest.raises(RunFolderError, match="only evolved runs"):
        resume(proof.path)
    assert (proof.path / "records.jsonl").read_bytes() == before
    with pytest.raises(RunFolderError, match="Let the run finish"):
        RunFolder.open(proof.path).read_json("result.json")


def test_without_energy_losses_and_times_are_compared_and_nothing_is_claimed(
    proof: Proof, small: RunConfig, settings: ProveConfig, tmp_path: Path
) -> None:
    def blind(source: str, device: str) -> EnergyMeter:
        return EnergyMeter(NullBackend("there is no counter here"))

    short = replace(
        settings,
        window_s=0.05,
        curve_steps=(4,),
        curve_gens=(1,),
        seeds=1,
        rates=(1e-2,),
        steps_grid=(4,),
        refinements=(),
        front_points=0,
    )
    verdict = prove(small, short, tmp_path / "proof", make_meter=blind)
    assert verdict["energy_source"] is None
    assert verdict["energy_claim"] is False
    assert "no counter here" in verdict["energy_reason"]
    assert verdict["energy_ratio"] is None
    assert verdict["criteria"] == []
    for side in SIDES:
        assert (verdict[side]["energy_j"], verdict[side]["energy_net_j"]) == (None, None)
        assert verdict[side]["time_s"] > 0
    assert verdict["clso"]["test_loss"] < proof.verdict["adamw_best"]["test_loss"]
    assert not (tmp_path / "proof" / "power.png").exists()
    text = (tmp_path / "proof" / "report.md").read_text()
    assert "No energy claim is made: there is no counter here" in text
    assert "**met**" not in text


def test_a_measured_run_cannot_read_test(small: RunConfig) -> None:
    host = in_memory(load_corpus(small.data, small.tokenizer))
    assert len(host.tokens("train")) == host.spec["n_tokens"]["train"]
    with pytest.raises(DataError, match="no test text"):
        host.tokens("test")


def test_a_space_that_is_no_language_model_is_refused(
    small: RunConfig, settings: ProveConfig, tmp_path: Path
) -> None:
    toy = replace(small, space=f"{Path(__file__).parents[1] / 'toys.py'}:OneMax")
    with pytest.raises(ConfigError, match="language models"):
        prove(toy, settings, tmp_path / "proof")
    assert not (tmp_path / "proof").exists()
