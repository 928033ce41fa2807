"""`benchmarks/nsm_tasks.py`: one task from training to the table, and nothing measured twice."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks.nsm_tasks import PUBLISHED, folder_of, main, parse_task
from clso.errors import ClsoError, ConfigError
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


def test_published_figures_are_those_of_their_papers() -> None:
    """The papers' own means over the 20 kinds, 36.4 % and 4.2 % errors."""
    kinds = [PUBLISHED[f"stories:kind={kind}"][1] for kind in range(1, 21)]
    for model, error in (("lstm", 36.4), ("memn2n", 4.2)):
        assert 100 - 5 * sum(kind[model] for kind in kinds) == pytest.approx(error, abs=0.06)


def test_misspelt_tasks_and_models_that_cannot_be_sized() -> None:
    assert parse_task("stories:kind=3")[1] == {"kind": 3}
    with pytest.raises(ClsoError, match="Did you mean 'kind'"):
        parse_task("stories:kin=3")
    fixed = f"{Path(__file__).parent / 'probed.py'}:Constant"
    with pytest.raises(ConfigError, match="grow with d_model"):
        equal_widths([fixed], load_task("listops"), {"n_layers": 1, "n_heads": 128}, 50_000)
