"""`benchmarks/nsm_tasks.py`: one task from training to the table, and nothing measured twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.nsm_tasks import (
    PUBLISHED,
    folder_of,
    main,
    parse_arguments,
    parse_model,
    parse_task,
    rounded,
)
from benchmarks.probe_tables import by_task
from benchmarks.side_by_side import Pool
from clso.errors import ClsoError, ConfigError
from clso.probe.folder import read_probe
from clso.tasks.base import load_task
from clso.tasks.models import equal_widths

FAMILY = f"{Path(__file__).parent / 'tasks' / 'recurrent.py'}:Recurrent"
SIZES = "n_train=32:n_valid=8:n_test=16"


def test_a_task_is_measured_once_and_shown_beside_what_was_published(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    task = f"stories:kind=1:{SIZES}"
    arguments = ["--tasks", task, "--models", f"{FAMILY},memn2n", "--parameters", "6000"]
    small = ["--steps", "2", "--evolve", "", "--groups", "task", "--examples", "8"]
    monkeypatch.setattr(sys, "argv", ["nsm_tasks.py", "--out", str(tmp_path), *arguments, *small])
    main()
    shown = capsys.readouterr()
    assert "seed 0" in shown.err
    folder = tmp_path / folder_of(task)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["manifest.json", "probe.json", "trained"]
    assert "Published: accuracies of Henaff et al. 2017" in shown.out
    (row,) = (line for line in shown.out.splitlines() if line.startswith("| memn2n |"))
    assert row.endswith("| 1.000 |")
    main()
    again = capsys.readouterr()
    assert again.out == shown.out
    assert "seed 0" not in again.err


def test_models_are_trained_and_measured_in_one_pool(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same figures as one after another; and the page's tables of them."""
    task = f"stories:kind=20:{SIZES}"
    arguments = ["--tasks", task, "--models", f"{FAMILY},memn2n", "--evolve", "", "--seeds", "2"]
    small = ["--parameters", "6000", "--steps", "4", "--eval-every", "2", "--examples", "8"]
    records = []
    for jobs in ("1", "2"):
        own = ["nsm_tasks.py", "--out", str(tmp_path / jobs), "--jobs", jobs]
        monkeypatch.setattr(sys, "argv", [*own, *arguments, *small, "--groups", "task,robustness"])
        main()
        records.append(read_probe(tmp_path / jobs / folder_of(task)))
    alone, together = records
    assert alone["comparisons"] == together["comparisons"]
    for one, other in zip(alone["models"], together["models"], strict=True):
        assert one["metrics"].keys() == other["metrics"].keys()
        assert one["metrics"]["adversarial"] == other["metrics"]["adversarial"]
        assert one["metrics"]["accuracy"] == other["metrics"]["accuracy"]
    page = by_task(tmp_path / "2").splitlines()
    assert "2 seeds, at most 4 steps of 32. Of 4 trainings" in page[2]
    rows = {line.split(" | ")[0]: line for line in page}
    for model in together["models"]:
        right = model["metrics"]["accuracy"]
        assert f"{right['value']:.3f}" in rows["| stories:kind=20 (32 examples)"]
        interval = f"({right['spread']['low']:.3f}-{right['spread']['high']:.3f})"
        assert interval in rows["| stories:kind=20 (32 examples)"]
        assert f" | {model['metrics']['noise_drop']['value']:.3f} | " in rows[f"| {model['name']}"]
    assert by_task(tmp_path / "none") == ""


def test_a_pool_does_what_is_urgent_first_and_outlives_a_failure() -> None:
    pool = Pool(1)
    found: list[int] = []
    pool.add("later", (2,), abs, -2, then=found.append)
    pool.add("wrong", (0,), int, "x", then=found.append)

    def then(value: int) -> None:
        found.append(value)
        pool.add("next", (1, 5), abs, -3, then=found.append)

    pool.add("first", (1,), abs, -1, then=then)
    pool.run()
    assert found == [1, 3, 2]
    assert list(pool.failed) == ["wrong"]
    assert isinstance(pool.failed["wrong"], ValueError)


def test_numbers_of_a_record_are_short() -> None:
    assert rounded({"a": [0.123456789, 1234567, None], "b": (1e-9 / 3, True)}) == {
        "a": [0.123457, 1234567, None],
        "b": [3.33333e-10, True],
    }


def test_options_of_a_model() -> None:
    assert parse_model("simple-nsm:chunk=4:gate=lstm") == (
        "simple-nsm",
        {"chunk": 4, "gate": "lstm"},
    )
    task = load_task("listops", {"n_train": 8, "n_valid": 8, "n_test": 8})
    sizes = {"n_layers": 2, "n_heads": 1}
    alike, other = (
        equal_widths(["simple-nsm"], task, sizes, 48_000, {"simple-nsm": options})["simple-nsm"]
        for options in ({"chunk": 4}, {"gate": "lstm"})
    )
    assert alike == equal_widths(["simple-nsm"], task, sizes, 48_000)["simple-nsm"] > other


def test_published_figures_are_those_of_their_papers() -> None:
    """The papers' own means over the 20 kinds, 36.4 % and 4.2 % errors."""
    kinds = [PUBLISHED[f"stories:kind={kind}"][1] for kind in range(1, 21)]
    for model, error in (("lstm", 36.4), ("memn2n", 4.2)):
        assert 100 - 5 * sum(kind[model] for kind in kinds) == pytest.approx(error, abs=0.06)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "stories:kind=99"], "kind is from 1 to 20"),
        (["--tasks", "stories:kin=3"], "Did you mean 'kind'"),
        (["--models", "lstn"], "unknown model; got 'lstn'"),
        (["--model-options", "lstm:wide=3"], "unknown option of this model"),
        (["--evolve", "5y8"], "--evolve is GENERATIONSxCANDIDATES"),
        (["--jobs", "0"], "--jobs is at least 1"),
        (["--steps", "0"], "steps is at least 1"),
    ],
)
def test_bad_input_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as found:
        parse_arguments(["--out", str(tmp_path), *arguments])
    assert found.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_misspelt_tasks_and_models_that_cannot_be_sized() -> None:
    assert parse_task("stories:kind=3")[1] == {"kind": 3}
    with pytest.raises(ClsoError, match="Did you mean 'kind'"):
        parse_task("stories:kin=3")
    fixed = f"{Path(__file__).parent / 'probed.py'}:Constant"
    with pytest.raises(ConfigError, match="grow with d_model"):
        equal_widths([fixed], load_task("listops"), {"n_layers": 1, "n_heads": 128}, 50_000)
