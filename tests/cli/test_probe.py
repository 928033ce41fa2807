"""`clso probe`, from models and runs to the record and its page."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import flip_bit

from clso.baseline import run_baseline
from clso.config import RunConfig
from clso.probe.metrics import METRICS
from clso.probe.training import Training
from clso.tasks.train import Fit

MODELS = Path(__file__).parents[1] / "probed.py"
FAMILIES = Path(__file__).parents[1] / "faulty_families.py"
SIZES = ("n_train=40", "n_valid=20", "n_test=24", "max_length=30")
TASK = ("--task", "listops", *(part for pair in SIZES for part in ("--option", pair)))
SMALL = (
    *("--steps", "2", "--eval-every", "1", "--d-model", "8", "--n-heads", "2", "--n-layers", "1"),
    *("--examples", "8", "--repeats", "2", "--device", "cpu", "--energy", "null"),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probed") / "lstm-run"
    settings = {
        "model": "lstm",
        "task_options": SIZES,
        "model_options": ("d_model=8", "n_heads=2"),
        "steps": 2,
    }
    run_baseline("sequence", settings, RunConfig(energy="null", device="cpu", seed=1), folder)
    return folder


def test_a_run_and_models_side_by_side(clso, tmp_path: Path, run: Path) -> None:
    done = clso("probe", run, "simple-nsm", *TASK, *SMALL, "--seeds", "2", "--out", "probe")
    assert done.code == 0, done.err
    record = json.loads((tmp_path / "probe" / "probe.json").read_text())
    assert [model["name"] for model in record["models"]] == ["lstm-run", "simple-nsm"]
    for model in record["models"]:  # every metric has a row, with a value or a reason
        assert set(model["metrics"]) == {metric.name for metric in METRICS}
        for name, figure in model["metrics"].items():
            assert (figure["value"] is None) == (figure["reason"] is not None), name
    run_metrics, nsm = (model["metrics"] for model in record["models"])
    assert nsm["accuracy"]["spread"]["n"] == 2
    assert nsm["states_allocated"]["value"] > 0
    assert nsm["seed_sensitivity"]["value"] is not None
    assert "no states" in run_metrics["states_allocated"]["reason"]
    assert "elsewhere" in run_metrics["lr_sensitivity"]["reason"]
    assert "switched off" in nsm["energy_per_step_j"]["reason"]
    assert [(c["model"], c["metric"], c["n"]) for c in record["comparisons"]] == [
        ("lstm-run", "loss", 24),
        ("lstm-run", "accuracy", 24),
    ]
    assert all(c["p_holm"] >= c["p"] for c in record["comparisons"])
    page = (tmp_path / "probe" / "report.html").read_text()
    for metric in METRICS:
        assert metric.name in page
        assert metric.name in done.out
    assert 'id="plot-longer"' in page
    made = clso("report", "probe", "--html", "again.html")
    assert made.code == 0
    assert (tmp_path / "again.html").read_text() == page
    assert "by itself" in clso("report", "probe", run).error


def test_json_is_all_that_is_printed_and_groups_are_picked(clso, run: Path) -> None:
    done = clso("probe", run, *SMALL, "--groups", "task", "--json")
    assert done.code == 0, done.err
    record = json.loads(done.out)
    assert record["task"]["task"] == "listops"  # the run's own
    assert set(record["models"][0]["metrics"]) == {m.name for m in METRICS if m.group == "task"}


def test_known_models_are_told_apart(clso) -> None:
    specs = (f"{MODELS}:Oracle", f"{MODELS}:Constant")
    done = clso("probe", *specs, *TASK, *SMALL, "--groups", "task", "--json")
    record = json.loads(done.out)
    oracle, constant = (model["metrics"] for model in record["models"])
    assert oracle["accuracy"]["value"] == 1.0
    assert constant["accuracy"]["value"] < 0.5
    by_metric = {c["metric"]: c for c in record["comparisons"]}
    assert by_metric["accuracy"]["difference"] == 1 - constant["accuracy"]["value"]
    assert by_metric["accuracy"]["low"] > 0
    assert by_metric["loss"]["cliffs_delta"] < 0
    assert by_metric["loss"]["p_holm"] < 0.01


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("simple-nsn", "--task", "listops"), "Did you mean 'simple-nsm'?"),
        (("lstm", "--task", "listopps"), "Did you mean 'listops'?"),
        (("lstm", "--task", "listops", "--option", "max_dept=3"), "Did you mean 'max_depth'?"),
        (("lstm", "--task", "listops", "--groups", "state"), "Did you mean 'states'?"),
        (("lstm",), "Name one with --task"),
        (("nowhere/run", "--task", "listops"), "a run folder holds config.toml"),
        (("lstm", "lstm", "--task", "listops"), "named once"),
        (("lstm", "--task", "listops", "--examples", "2"), "examples is at least 8"),
        (("lstm", "--task", "listops", "--d-model", "9"), "d_model is a multiple"),
        (
            ("lstm", "--task", "listops", "--groups", "task,task"),
            "each group of metrics is named once",
        ),
        (
            ("lstm", "--task", "listops", "--equal-parameters", "0"),
            "equal_parameters is at least 1",
        ),
        (("lstm", *TASK, "--equal-parameters", "1"), "Ask for more"),
        (("lstm", *TASK, "--equal-parameters", "100000000000"), "Ask for fewer"),
        (("lstm", *TASK, "--out", "/dev/null/probe"), "can be made (Not a directory)"),
        ((f"{FAMILIES}:WithoutConfig", *TASK), "a torch.nn.Module class with a dataclass Config"),
        ((f"{FAMILIES}:WithoutFields", *TASK), "a torch.nn.Module class with a dataclass Config"),
    ],
)
def test_bad_input_is_one_line(clso, arguments: tuple[str, ...], says: str) -> None:
    done = clso("probe", *arguments, "--device", "cpu")
    assert done.code == 2
    assert says in done.error


@pytest.mark.parametrize(
    ("name", "jobs"),
    [
        ("Raises", 1),
        ("Exits", 1),
        ("Tuples", 1),
        ("Detached", 1),
        ("WithoutWeights", 1),
        ("Exits", 2),
    ],
)
def test_a_family_whose_code_fails_is_one_line(clso, name: str, jobs: int) -> None:
    more = ("--jobs", str(jobs), "--seeds", str(jobs), "--groups", "task")
    done = clso("probe", f"{FAMILIES}:{name}", *TASK, *SMALL, *more)
    assert done.code == 2
    assert f"the model '{name}' can be trained" in done.error


def test_a_stopped_probe_goes_on_to_the_same_record(
    clso, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C as the second of two trainings begins: the first is not made again."""
    command = ("probe", "lstm", *TASK, *SMALL, "--groups", "task", "--seeds", "2")
    run, ran = Training.run, []

    def pressed(training: Training, progress: Callable[[str], None]) -> Fit:
        ran.append(training.seed)
        if len(ran) == 2:
            raise KeyboardInterrupt
        return run(training, progress)

    monkeypatch.setattr(Training, "run", pressed)
    stopped = clso(*command, "--out", "probe")
    assert (stopped.code, "The same command goes on" in stopped.err) == (130, True)
    assert clso(*command, "--out", "probe").code == 0
    assert ran == [0, 1, 1]
    assert clso(*command, "--out", "whole").code == 0
    names = ("manifest.json", "probe.json", "report.html")
    assert sorted(p.name for p in (tmp_path / "probe").iterdir()) == sorted(names)
    both = [json.loads((tmp_path / name / "probe.json").read_text()) for name in ("probe", "whole")]
    for record in both:
        del record["models"][0]["metrics"]["training_time_s"]
        for training in record["models"][0]["trainings"]:
            training.pop("train_s"), training.pop("score_s")
    assert both[0]["models"] == both[1]["models"]
    assert both[0]["comparisons"] == both[1]["comparisons"]


@pytest.mark.parametrize("name", ["model.safetensors", "sequence.json"])
def test_a_run_whose_model_was_changed(clso, tmp_path: Path, run: Path, name: str) -> None:
    damaged = shutil.copytree(run, tmp_path / "damaged")
    flip_bit(damaged / "best" / name, 8 * (damaged / "best" / name).stat().st_size - 20)
    done = clso("probe", damaged, *SMALL, "--groups", "task")
    assert done.code == 2
    assert f"{name} is what the run wrote" in done.error


def test_a_failed_probe_leaves_no_folder(clso, tmp_path: Path) -> None:
    done = clso("probe", f"{FAMILIES}:Raises", *TASK, *SMALL, "--out", "deep/probe")
    assert done.code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_run_of_another_task_and_a_folder_that_is_there(clso, tmp_path: Path, run: Path) -> None:
    other = clso("probe", run, "--task", "copy", "--device", "cpu")
    assert other.code == 2
    assert "task is the run's" in other.error
    assert "seed is the run's" in clso("probe", run, *TASK, "--data-seed", "3").error
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").touch()
    assert "a new folder" in clso("probe", run, "--out", "full").error
