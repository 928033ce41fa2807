"""The parts of a proof: settings, sweep, windows, statistics, and when no claim is made."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from clso.baseline import TrainingPlan
from clso.config import RunConfig
from clso.disk.parsing import parse_toml
from clso.energy import EnergyMeter
from clso.energy.cards import Cards
from clso.energy.counter import CounterLimits
from clso.energy.nvml import NvmlCounter
from clso.energy.replay import ReplayClock, ReplayPower, replay_counter
from clso.errors import ConfigError, EvaluationError, RunFolderError
from clso.prove.config import ProveConfig
from clso.prove.evidence import Evidence
from clso.prove.statistics import interval_of_ratio, median_run, paired_tests
from clso.prove.sweep import best_within, front, plans, refined, sweep_key
from clso.prove.verdict import make_verdict
from clso.prove.windows import Arm, measure_window
from clso.space.build import model_sizes

from .conftest import Proof
from .steady import WATTS, SteadySource

RECIPES = sorted((Path(__file__).parents[2] / "runs").glob("*.toml"))


def test_the_defaults_are_the_protocol() -> None:
    assert ProveConfig().deviations == []
    quick = ProveConfig().shortened()
    assert quick.quick
    assert len(quick.deviations) >= 4
    assert quick.shortened() == quick


@pytest.mark.parametrize("path", RECIPES, ids=lambda p: p.name)
def test_committed_recipes_ask_for_the_whole_protocol(path: Path) -> None:
    assert isinstance(RunConfig.from_toml(path), RunConfig)
    assert ProveConfig.from_toml(path).deviations == []


def test_there_is_a_recipe_for_the_reference_protocol() -> None:
    config = RunConfig.from_toml(next(p for p in RECIPES if p.name == "ref-2x128.toml"))
    sizes = {"n_layers": 2, "d_model": 128, "n_heads": 2, "n_positions": 128}
    assert config.options == {**sizes, "neurons": False}
    assert model_sizes(config) == sizes
    assert (config.gens, config.pop, config.tokenizer, config.seed) == (50, 32, "gpt2", 0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds = 0", "seeds is at least 1; got 0"),
        ("window_s = 0", "window_s is a positive number; got 0.0"),
        ("rates = [1e-3, 1e-3]", "rates are positive and rising"),
        ("rates = []", "rates are positive and rising"),
        ('schedules = ["linear"]', "schedules are constant, cosine or both"),
        ("steps_grid = [1.5]", "steps_grid is of type tuple"),
        ("sedes = 8", "Did you mean 'seeds'?"),
        ("variants = [{rates = [2e-3, 1e-3]}]", "rates are positive and rising"),
        ("variants = [{steps_grid = [1.5]}]", "steps_grid is of type tuple"),
        ('variants = [{schedules = ["linear"]}]', "schedules are constant, cosine or both"),
        ("front_points = -1", "front_points is at least 0; got -1"),
    ],
)
def test_bad_tables_name_the_key(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(f"gens = 3\n[prove]\n{text}\n")
    assert RunConfig.from_toml(path).gens == 3
    with pytest.raises(ConfigError) as caught:
        ProveConfig.from_toml(path)
    assert message in str(caught.value)


def test_the_sweep_trains_constant_rates_once_and_every_cosine() -> None:
    found = plans(ProveConfig())
    assert len(found) == 7 + 7 * 4
    assert {p.steps for p in found if p.schedule == "constant"} == {2000}
    assert all(p.stop_at == p.steps for p in found)


def test_the_best_plan_stops_at_its_best_score() -> None:
    rows = [
        {"lr": 1e-3, "schedule": "constant", "steps": 6, "curve": [[2, 5.0], [4, 3.0], [6, 4.0]]},
        {"lr": 1e-2, "schedule": "cosine", "steps": 4, "curve": [[2, 4.0], [4, None]]},
    ]
    assert best_within(rows) == (TrainingPlan(1e-3, "constant", 6, 4), 3.0)
    assert best_within(rows, 3) == (TrainingPlan(1e-2, "cosine", 4, 2), 4.0)
    with pytest.raises(EvaluationError, match="finite loss"):
        best_within(rows, 1)


def test_every_variant_is_swept_and_found_again(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(
        "[prove]\nrates = [1e-3]\nsteps_grid = [4, 8]\nvariants = [{}, {batch = 16, betas = [0.9, 0.95]}]\n"
    )
    settings = ProveConfig.from_toml(path)
    found = plans(settings)
    assert len(found) == 6
    variant = (("batch", 16), ("betas", (0.9, 0.95)))
    assert {p.variant for p in found} == {(), variant}
    assert len({sweep_key(p) for p in found}) == 6
    assert sweep_key(found[0]) == "sweep/0.001/constant/8"
    assert str(found[-1]) == "0.001 cosine, 8 steps, batch 16, betas (0.9, 0.95)"
    row = {"lr": 1e-3, "schedule": "cosine", "steps": 8, "curve": [[4, 3.0]]}
    other = {**row, "curve": [[4, 2.0]], "variant": json.loads(json.dumps(dict(variant)))}
    assert best_within([row, other]) == (TrainingPlan(1e-3, "cosine", 8, 4, variant), 2.0)
    written = tmp_path / "written.toml"
    written.write_text(tomli_w.dumps({"prove": settings.to_json()}))
    assert ProveConfig.from_toml(written) == settings
    assert "variants" not in ProveConfig().to_json()
    with pytest.raises(ConfigError, match="variants are distinct"):
        ProveConfig(variants=({"batch": 2}, {"batch": 2}))


def test_a_variant_may_have_rates_schedules_and_lengths_of_its_own() -> None:
    own = {"batch": 16, "rates": [2e-3], "schedules": ["cosine"], "steps_grid": [4, 64]}
    settings = ProveConfig(rates=(1e-3,), steps_grid=(8,), variants=({}, own))
    found = plans(settings)
    assert [p for p in found if p.variant] == [
        TrainingPlan(2e-3, "cosine", n, n, (("batch", 16),)) for n in (4, 64)
    ]
    assert len(found) == 4
    assert settings.max_steps == 500
    assert ProveConfig(variants=(own, {"steps_grid": [9000]})).max_steps == 9000


def test_a_refinement_adds_to_the_strongest_over_its_whole_length() -> None:
    plan = TrainingPlan(1e-3, "cosine", 8, 6, (("batch", 16),))
    same, higher = refined(plan, {"tied_head": True, "betas": [0.9, 0.95]})
    variant = (("batch", 16), ("betas", (0.9, 0.95)), ("tied_head", True))
    assert same == TrainingPlan(1e-3, "cosine", 8, 8, variant)
    assert higher == TrainingPlan(1.5e-3, "cosine", 8, 8, variant)
    assert refined(plan, {}) == []


def test_the_front_has_the_strongest_and_the_cheapest_that_is_good_enough() -> None:
    def row(lr: float, joules: float, *losses: float) -> dict[str, Any]:
        curve = [[2 * (i + 1), loss] for i, loss in enumerate(losses)]
        steps = 2 * len(losses)
        return {"lr": lr, "schedule": "constant", "steps": steps, "curve": curve,
                "energy_j": joules, "time_s": 1.0}  # fmt: skip

    rows = [row(1e-3, 40.0, 6.0, 5.0), row(2e-3, 400.0, 5.5, 4.0), row(3e-3, 80.0, 4.8)]
    assert front(rows, 0) == []
    assert front(rows, 1) == [TrainingPlan(2e-3, "constant", 4, 4)]
    first = TrainingPlan(1e-3, "constant", 4, 2)
    assert front(rows, 2) == [first, TrainingPlan(2e-3, "constant", 4, 4)]
    assert front(rows, 2, 4.9)[1] == TrainingPlan(3e-3, "constant", 2, 2)


class Card:
    """One card that draws 300 W, as `pynvml` tells it."""

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        return int(300e3 * time.perf_counter())

    def nvmlDeviceGetPowerUsage(self, handle: str) -> int:
        return 300_000

    def nvmlShutdown(self) -> None:
        """Nothing to give back."""


def sleeper(seconds: float) -> Arm:
    def run(seed: int) -> float:
        time.sleep(seconds * (1 + seed))
        return float(seed)

    return Arm("sleeper", run)


def test_a_window_on_a_card_has_the_power_that_the_card_reports() -> None:
    meter = EnergyMeter(NvmlCounter(Cards(Card(), ["card"]), time.perf_counter))
    row = measure_window(meter, sleeper(0.15), [0, 1], 0.5)  # longer than the counter's update
    assert len(row["power_w"]) >= 3
    assert {w for _, w in row["power_w"]} == {300.0}
    assert row["energy_j"] == pytest.approx(300 * row["time_s"], rel=0.05)
    # A seed's own share: seed 1 sleeps twice as long.
    first, second = (sum(r[2] for r in row["runs"] if r[0] == s) for s in (0, 1))
    assert second / first == pytest.approx(2, rel=0.2)


def test_a_window_without_whole_cycles_ends_with_a_run() -> None:
    row = measure_window(
        SteadySource().meter(), sleeper(0.02), [0, 1, 2], 0.001, whole_cycles=False, kind="curve"
    )
    assert (row["type"], row["n_runs"], row["runs"][0][0]) == ("curve", 1, 0)
    assert row["energy_j"] == pytest.approx(WATTS * row["time_s"], rel=0.1)


def test_a_sampled_source_gives_a_window_joules_but_none_to_its_runs() -> None:
    clock = ReplayClock()
    meter = EnergyMeter(
        ReplayPower([(t / 2, 50.0) for t in range(40)], clock), clock=clock, sleep=clock.advance
    )

    def a_second(seed: int) -> float:
        clock.advance(1.0)
        return 1.0

    row = measure_window(meter, Arm("a", a_second), [0, 1], 4.0)
    assert (row["energy_j"], row["n_runs"]) == (pytest.approx(200.0), 4)
    assert [r[2] for r in row["runs"]] == [None] * 4
    assert "no power to sample" in row["power_reason"]


def test_runs_shorter_than_the_counters_update_have_no_joules_of_their_own() -> None:
    clock = ReplayClock()
    counter = replay_counter(
        [[(i / 8, 32.0 * i) for i in range(100)]], clock, CounterLimits(0.125, 2000.0)
    )
    meter = EnergyMeter(counter, clock=clock, sleep=clock.advance)

    def sixteenths(seed: int) -> float:
        clock.advance(seed / 16)
        return 1.0

    row = measure_window(meter, Arm("a", sixteenths), [1, 4], 4.0)
    assert row["energy_j"] == pytest.approx(256 * row["time_s"], abs=32)
    # 16 J, of which the counter shows 0 or 32
    assert {run[2] for run in row["runs"] if run[0] == 1} == {None}
    assert all(run[2] in (64.0, 96.0, 32.0) for run in row["runs"] if run[0] == 4)


def test_the_interval_covers_the_truth_and_narrows_without_noise() -> None:
    rng = np.random.default_rng(0)
    exact = interval_of_ratio(np.full((2, 8), 20.0), np.full((2, 8), 100.0))
    assert (exact["value"], exact["low"], exact["high"]) == pytest.approx((0.2, 0.2, 0.2))
    covered = 0
    for trial in range(40):
        own, other = rng.normal(20, 2, (2, 8)), rng.normal(100, 10, (2, 8))
        found = interval_of_ratio(own, other, seed=trial)
        covered += found["low"] <= 0.2 <= found["high"]
    assert covered >= 34


def test_windows_that_disagree_widen_the_interval() -> None:
    other = np.full((2, 8), 100.0)
    drifting = np.stack([np.full(8, 10.0), np.full(8, 30.0)])
    found = interval_of_ratio(drifting, other)
    assert (found["value"], found["low"], found["high"]) == pytest.approx((0.2, 0.1, 0.3))
    assert median_run(drifting) == pytest.approx(20.0)


def test_paired_tests() -> None:
    found = paired_tests([1.0 + 0.01 * i for i in range(8)], [2.0] * 8)
    assert (found["own_lower"], found["n"]) == (8, 8)
    assert (found["sign_p"], found["wilcoxon_p"], found["smallest_p"]) == pytest.approx(
        (2 / 256,) * 3
    )
    assert found["low"] <= found["median_difference"] <= found["high"] < 0
    same = paired_tests([1.0, 2.0], [1.0, 2.0])
    assert (same["sign_p"], same["wilcoxon_p"], same["median_difference"]) == pytest.approx(
        (1.0, 1.0, 0.0)
    )


def changed(proof: Proof, tmp_path: Path, change: Any) -> dict[str, Any]:
    """The verdict on a proof's rows after a change of them."""
    config, settings = (
        RunConfig.from_toml(proof.path / "config.toml"),
        ProveConfig.from_toml(proof.path / "config.toml"),
    )
    path = tmp_path / "copy"
    path.mkdir()
    for name in ("config.toml", "manifest.json", "records.jsonl"):
        (path / name).write_bytes((proof.path / name).read_bytes())
    with Evidence.start(path, config, settings) as evidence:
        change(evidence.rows)
        return make_verdict(evidence, config, settings)


def cheap_clso(rows: dict[str, Any]) -> None:
    """CLSO's runs at a hundredth of their joules and seconds."""
    for row in rows.values():
        if row["type"] == "window" and row["arm"] == "clso":
            row["energy_j"], row["time_s"] = row["energy_j"] / 100, row["time_s"] / 100
            row["runs"] = [[s, t / 100, j / 100, loss] for s, t, j, loss in row["runs"]]


def test_criteria_follow_from_loss_joules_and_speed(proof: Proof, tmp_path: Path) -> None:
    assert proof.verdict["criteria"] == []  # CLSO's loss is lower here, but its joules are not
    verdict = changed(proof, tmp_path, cheap_clso)
    assert verdict["clso"]["energy_j"] == pytest.approx(proof.verdict["clso"]["energy_j"] / 100)
    assert verdict["criteria"] == ["minimum", "expected", "exceptional", "must", "own_bar"]


def test_a_higher_loss_meets_no_more_than_its_margin_allows(proof: Proof, tmp_path: Path) -> None:
    def worse(rows: dict[str, Any]) -> None:
        cheap_clso(rows)
        best = np.median(
            [
                r["test_loss"]
                for r in rows.values()
                if r["type"] == "model" and r["arm"] == "adamw_best"
            ]
        )
        for row in rows.values():
            if row["type"] == "model" and row["arm"] == "clso":
                row["test_loss"] = 1.15 * best

    assert changed(proof, tmp_path, worse)["criteria"] == ["minimum"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: rows["self-test"].update(ok=False), "failed its self-test"),
        (
            lambda rows: rows["window/1/clso"].update(short=True),
            "too short for the source's resolution",
        ),
        (
            lambda rows: rows["window/5/adamw_reference"].update(
                energy_j=None, energy_reason="reset"
            ),
            "(reset)",
        ),
        (
            lambda rows: rows["window/1/clso"].update(energy_j=0.0),
            "a window of clso was not measured",
        ),
    ],
)
def test_no_claim_is_made_from_a_doubtful_measurement(
    proof: Proof, tmp_path: Path, change: Any, reason: str
) -> None:
    def both(rows: dict[str, Any]) -> None:
        cheap_clso(rows)
        change(rows)

    verdict = changed(proof, tmp_path, both)
    assert (verdict["energy_claim"], verdict["energy_ratio"], verdict["criteria"]) == (
        False,
        None,
        [],
    )
    assert reason in verdict["energy_reason"]
    assert not any(any(a["criteria"].values()) for a in verdict["against"].values())


def test_a_proof_goes_on_with_what_its_settings_mean(proof: Proof, tmp_path: Path) -> None:
    """In the words of an older version, too; a run's folder is none to go on in."""
    config = RunConfig.from_toml(proof.path / "config.toml")
    settings = ProveConfig.from_toml(proof.path / "config.toml")
    (tmp_path / "records.jsonl").touch()
    file, table = tmp_path / "config.toml", tomli_w.dumps({"prove": settings.to_json()})
    old = {"mlp": False, "checkpoint": "", **parse_toml(config.to_toml())}
    file.write_text(tomli_w.dumps(old.pop("options") | old) + table)
    with Evidence.start(tmp_path, config, settings) as evidence:
        assert evidence.rows == {}
    for other in (config.with_options(options={"d_model": 64}), config.with_options(gens=3)):
        with pytest.raises(RunFolderError, match="the settings that it was begun with"):
            Evidence.start(tmp_path, other, settings)
    file.write_text(config.to_toml())
    with pytest.raises(RunFolderError, match="the settings that it was begun with"):
        Evidence.start(tmp_path, config, ProveConfig())


def test_a_damaged_record_is_refused(proof: Proof, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="is whole"):
        changed_path = tmp_path / "copy"
        changed_path.mkdir()
        (changed_path / "config.toml").write_bytes((proof.path / "config.toml").read_bytes())
        (changed_path / "records.jsonl").write_text('{"no key": 1}\n')
        Evidence.start(
            changed_path, RunConfig.from_toml(proof.path / "config.toml"),
            ProveConfig.from_toml(proof.path / "config.toml"),
        )  # fmt: skip
