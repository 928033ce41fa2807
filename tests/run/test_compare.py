from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import RunFolderError
from clso.run.compare import compare_runs
from clso.run.criteria import CRITERIA, Criterion, verdict_sentence


def make_folder(
    path: Path, *, loss: float, joules: float | None, seconds: float, **changes: Any
) -> Path:
    """A finished run's folder with given figures."""
    path.mkdir()
    (path / "config.toml").write_text(RunConfig().to_toml())
    energy = None
    if joules is not None:
        energy = {
            "source": changes.get("source", "nvml"),
            "resolution_s": changes.get("resolution_s", 0.0),
            "idle_w": None,
            "gross": {"total": joules},
            "net": {"total": None},
        }
    result = {
        "best": {"genome": [0], "alleles": {"a": "0"}, "valid_loss": loss + 0.1, "test_loss": loss},
        "counts": {"evaluated": 1, "screened_out": 0, "cached": 0, "generations": 1},
        "tokens_forward": 10,
        "surrogate": {
            "name": "none",
            "trusted": False,
            "audit": {"rank_correlation": None, "n": 0, "disabled": False, "reason": None},
        },
        "log_vocabulary": 8.0,
        "seed": 0,
        "energy_j": energy,
        "energy_reason": None if energy else "no counter here",
        "time_s": {"total": seconds},
    }
    result |= (
        {"baseline": changes["baseline"]}
        if "baseline" in changes
        else {"space": "gpt2", "library": "grown"}
    )
    device = changes.get("device", "H100")
    hardware = (
        {"device": "cpu"} if device == "cpu" else {"device": "cuda:0", "gpu": {"name": device}}
    )
    manifest = {"corpus": {"hash": changes.get("text", "abc")}, "hardware": hardware}
    (path / "result.json").write_text(json.dumps(result))
    (path / "manifest.json").write_text(json.dumps(manifest))
    return path


def verdict(tmp_path: Path, own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    run = make_folder(tmp_path / "run", **{"loss": 6.0, "joules": 100.0, "seconds": 1.0, **own})
    against = make_folder(
        tmp_path / "base",
        **{"loss": 6.0, "joules": 400.0, "seconds": 5.0, "baseline": "adamw", **other},
    )
    found = compare_runs(run, [against])
    assert [r["name"] for r in found["rows"]] == ["clso gpt2 (grown)", "adamw"]
    one: dict[str, Any] = found["verdicts"][0]
    return one


@pytest.mark.parametrize(
    ("own", "other", "met"),
    [
        ({"loss": 5.9}, {}, ["minimum", "expected", "exceptional"]),
        ({}, {}, ["minimum", "expected"]),  # an equal loss is not a better one
        ({"loss": 6.6}, {}, ["minimum", "expected"]),  # 10 % exactly is within 10 %
        ({"loss": 6.61}, {}, ["minimum"]),
        ({"loss": 7.2}, {}, ["minimum"]),
        ({"loss": 7.21}, {}, []),
        ({"joules": 200.0}, {}, []),  # 50 % exactly is not more than 50 %
        ({"joules": 199.0}, {}, ["minimum"]),
        ({"joules": 160.0}, {}, ["minimum"]),  # 60 % exactly
        ({"joules": 159.0}, {}, ["minimum", "expected"]),
        ({"loss": 5.9, "joules": 120.0}, {}, ["minimum", "expected"]),  # 70 % exactly
        ({"loss": 5.9, "joules": 119.0}, {}, ["minimum", "expected", "exceptional"]),
        ({"joules": 500.0}, {}, []),
        (
            {"loss": 5.9, "seconds": 1.01},
            {},
            ["minimum", "expected"],
        ),  # just under 5 times the speed
        ({"loss": 5.9, "seconds": 1.26}, {}, ["minimum"]),  # under 4 times
        ({"loss": 5.9, "seconds": 50.0}, {}, ["minimum"]),  # slower: the minimum asks for no speed
        (
            {"loss": 5.9, "seconds": 0.0},
            {},
            ["minimum"],
        ),  # no time was measured, so no speed is claimed
    ],
)
def test_criteria(
    tmp_path: Path, own: dict[str, Any], other: dict[str, Any], met: list[str]
) -> None:
    found = verdict(tmp_path, own, other)
    assert found["criteria_met"] == met
    assert found["reason"] is None


def test_the_figures_of_a_verdict(tmp_path: Path) -> None:
    found = verdict(tmp_path, {"loss": 5.4, "joules": 100.0, "seconds": 2.0}, {})
    assert found == {
        "against": "adamw",
        "loss_ratio": pytest.approx(0.9),
        "energy_saved": 0.75,
        "speed_up": 2.5,
        "criteria_met": ["minimum"],
        "reason": None,
    }


@pytest.mark.parametrize(
    ("own", "other", "reason"),
    [
        ({"joules": None}, {}, "energy of clso gpt2 (grown) was not measured (no counter here)"),
        ({}, {"joules": None}, "energy of adamw was not measured (no counter here)"),
        ({"joules": None}, {"joules": None}, "energy of clso"),
        ({"device": "H200"}, {}, "different devices or by different sources"),
        ({"device": "cpu"}, {}, "different devices or by different sources"),
        ({"source": "nvml-sampled"}, {}, "different devices or by different sources"),
        ({}, {"joules": 0.0}, "adamw was too short for its energy source to measure (0 J)"),
        ({"joules": 0.0}, {}, "clso gpt2 (grown) was too short"),  # or 100 % were saved
        ({"joules": -1.0}, {}, "too short"),
        (
            {"seconds": 0.9, "resolution_s": 0.1},
            {},
            "took 0.9 s, too short for an energy source that updates every 0.1 s",
        ),
        ({}, {"seconds": 0.09, "resolution_s": 0.01}, "adamw took 0.09 s"),
    ],
)
def test_no_claim_without_a_fair_measurement(
    tmp_path: Path, own: dict[str, Any], other: dict[str, Any], reason: str
) -> None:
    found = verdict(tmp_path, {"loss": 1.0, "joules": 1.0, "seconds": 0.1, **own}, other)
    assert found["criteria_met"] == []
    assert found["energy_saved"] is None
    assert found["reason"].startswith("no claim: ")
    assert reason in found["reason"]
    if "device" in own:
        assert found["speed_up"] is None


def test_the_criteria_are_the_missions() -> None:
    assert (
        Criterion("minimum", 1.2, 0.5),
        Criterion("expected", 1.1, 0.6, 4.0),
        Criterion("exceptional", 1.0, 0.7, 5.0),
    ) == CRITERIA


def test_a_bound_that_may_be_equalled() -> None:
    strict, own = Criterion("strict", 1.0, 0.5), Criterion("own", 1.0, 0.5, or_equal=True)
    assert (strict.is_met(0.9, 0.5, None), own.is_met(0.9, 0.5, None)) == (False, True)
    assert not own.is_met(1.0, 0.9, None)  # an equal loss is not a better one
    assert not own.is_met(0.9, None, 9.0)  # nothing was measured


def test_the_sentence_of_a_verdict(tmp_path: Path) -> None:
    assert verdict_sentence(verdict(tmp_path, {"loss": 5.4, "seconds": 2.0}, {})) == (
        "Against adamw: loss 10.0 % lower, energy saved 75.0 %, 2.5 times the speed. criteria met: minimum"
    )


def test_different_texts_are_not_compared(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="one text and tokenizer"):
        verdict(tmp_path, {}, {"text": "other"})


def test_several_baselines_keep_their_order(tmp_path: Path) -> None:
    run = make_folder(tmp_path / "run", loss=6.0, joules=1.0, seconds=1.0)
    others = [
        make_folder(tmp_path / n, loss=6.0, joules=4.0, seconds=1.0, baseline=n)
        for n in ("b", "a", "c")
    ]
    assert [v["against"] for v in compare_runs(run, others)["verdicts"]] == ["b", "a", "c"]


def test_a_real_run_on_a_cpu_without_a_meter_makes_no_claim(
    finished_run: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(finished_run, other)
    found = compare_runs(finished_run, [other])["verdicts"][0]
    assert found["loss_ratio"] == 1.0
    assert found["criteria_met"] == []
    assert "was not measured" in found["reason"]


@pytest.mark.parametrize("text", ["{}", '{"best": null}', '{"best": {"fitness": 1.0}}', "[]", "{"])
def test_folders_without_losses(
    finished_run: Path, finished_toy_run: Path, tmp_path: Path, text: str
) -> None:
    with pytest.raises(RunFolderError, match="language model's losses"):
        compare_runs(finished_run, [finished_toy_run])
    damaged = tmp_path / "damaged"
    shutil.copytree(finished_run, damaged)
    (damaged / "result.json").write_text(text)
    with pytest.raises(RunFolderError):
        compare_runs(finished_run, [damaged])


def test_joules_that_are_no_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="finite number, not nan"):
        verdict(tmp_path, {"joules": float("nan")}, {})
