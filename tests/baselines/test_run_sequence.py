"""`clso baseline sequence`, as a user runs it: a third party's model on a task."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from clso.baseline import run_baseline
from clso.cli import cli
from clso.config import RunConfig
from clso.errors import ConfigError, EvaluationError, PluginError
from clso.run.compare import compare_runs
from clso.tasks.base import load_task
from clso.tasks.models import load_model
from clso.tasks.scoring import score

FAMILY = f"{Path(__file__).parents[1] / 'tasks' / 'recurrent.py'}:Recurrent"
SIZES = ("n_train=300", "n_valid=50", "n_test=60", "max_length=30")
SETTINGS: dict[str, Any] = {
    "model": FAMILY,
    "task_options": SIZES,
    "model_options": ("d_model=16",),
    "steps": 20,
    "eval_every": 10,
    "lr": (1e-3, 1e-2),
}
CONFIG = RunConfig(energy="null", device="cpu", seed=3)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("sequence") / "run"
    return folder, run_baseline("sequence", SETTINGS, CONFIG, folder)


def test_the_result_is_whole(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    assert json.loads((folder / "result.json").read_text()) == result
    best = result["best"]
    assert {"valid_loss", "valid_accuracy", "test_loss", "test_accuracy", "chance", "lr"} <= set(
        best
    )
    assert [fit["lr"] for fit in result["by_lr"]] == [1e-3, 1e-2]
    winner = max(result["by_lr"], key=lambda fit: fit["valid_accuracy"])
    assert best["valid_accuracy"] == winner["valid_accuracy"]
    assert result["counts"]["train_tokens"] == sum(fit["n_tokens"] for fit in result["by_lr"])
    assert set(result["time_s"]) == {"data", "search", "validate", "test", "total"}
    assert result["energy_j"] is None
    assert "switched off" in result["energy_reason"]
    assert result["seed"] == 3


def test_test_is_measured_from_disk(finished: tuple[Path, dict[str, Any]]) -> None:
    folder, result = finished
    task = load_task("listops", {"n_train": 300, "n_valid": 50, "n_test": 60, "max_length": 30})
    found = score(load_model(folder / "best"), task.split("test"), batch=64)
    assert (found.loss, found.accuracy) == (
        result["best"]["test_loss"],
        result["best"]["test_accuracy"],
    )
    assert json.loads((folder / "manifest.json").read_text())["corpus"] == task.describe()


def test_runs_on_one_task_compare_and_others_do_not(
    finished: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    same = run_baseline("sequence", {**SETTINGS, "lr": (1e-2,)}, CONFIG, tmp_path / "same")
    # a sweep's rates are apart
    assert same["by_lr"][0]["valid_curve"] == finished[1]["by_lr"][1]["valid_curve"]
    rows = compare_runs(finished[0], [tmp_path / "same"])["rows"]
    assert [row["test_loss"] for row in rows] == [
        finished[1]["best"]["test_loss"],
        same["best"]["test_loss"],
    ]
    run_baseline("sequence", {**SETTINGS, "shuffle_labels": True}, CONFIG, tmp_path / "control")
    with pytest.raises(Exception, match="over one text"):
        compare_runs(finished[0], [tmp_path / "control"])


def test_by_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    arguments = [
        "--model",
        FAMILY,
        "--task",
        "copy",
        "--task-options",
        ",".join(SIZES[:3]),
        "--steps",
        "4",
    ]
    common = ["--seed", "3", "--device", "cpu", "--energy", "null", "--out", str(tmp_path / "run")]
    done = CliRunner().invoke(cli, ["baseline", "sequence", *arguments, *common])
    assert done.exit_code == 0, done.output
    for text in ("test accuracy", "chance", "best", "run folder", "step 4: train"):
        assert text in done.output
    assert not (tmp_path / "run" / "best" / "config.json").exists()  # no GPT-2
    listed = CliRunner().invoke(cli, ["list", "tasks", "--json"])
    assert {"listops", "copy", "stories", "pathfinder", "scrolls"} <= {
        row["name"] for row in json.loads(listed.output)
    }


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"task": "listop"}, PluginError, "Did you mean 'listops'"),
        ({"task_options": ("depth=3",)}, ConfigError, "unknown option of this task"),
        ({"model": "lstmm"}, PluginError, "unknown model"),
        ({"model_options": ("width=3",)}, ConfigError, "unknown option of this model"),
        (
            {"task": "copy", "task_options": (), "shuffle_labels": True},
            ConfigError,
            "only if sequences have classes",
        ),
        ({"lr": (-1.0,)}, ConfigError, "positive rates"),
        ({"model": FAMILY.replace("Recurrent", "Diverging")}, EvaluationError, "finite loss"),
    ],
)
def test_bad_settings_leave_no_folder(
    settings: dict[str, Any], error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_baseline("sequence", {**SETTINGS, **settings}, CONFIG, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []
