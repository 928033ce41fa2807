"""Trainings side by side: the results of one after another, and no process that outlives an error."""

from __future__ import annotations

from multiprocessing import active_children
from pathlib import Path
from typing import Any

import pytest

from clso.errors import EvaluationError
from clso.probe.run import run_probe
from clso.probe.settings import ProbeSettings

FAMILIES = Path(__file__).parents[1] / "tasks" / "recurrent.py"
STABLE, DIVERGING = f"{FAMILIES}:Recurrent", f"{FAMILIES}:Diverging"
SIZES = {"n_train": 64, "n_valid": 20, "n_test": 24, "max_length": 30}


def settings(*subjects: str, **others: Any) -> ProbeSettings:
    return ProbeSettings(
        subjects,
        task="listops",
        task_options=SIZES,
        **{
            "groups": ("task", "sensitivity", "robustness"),
            "d_model": 8,
            "steps": 4,
            "eval_every": 2,
            "batch": 16,
            "examples": 8,
            **others,
        },
        device="cpu",
        energy="null",
    )


def without_times(value: Any) -> Any:
    """A record without what differs from time to time."""
    if isinstance(value, dict):
        return {
            key: without_times(one)
            for key, one in value.items()
            if key not in ("training_time_s", "train_s", "score_s", "jobs", "manifest")
        }
    return [without_times(one) for one in value] if isinstance(value, list) else value


def test_trainings_side_by_side_give_the_same_and_are_kept(tmp_path: Path) -> None:
    told: list[str] = []
    alone = run_probe(settings(STABLE, seeds=2)).to_json()
    beside = run_probe(settings(STABLE, seeds=2, jobs=2), told.append, tmp_path).to_json()
    assert without_times(beside) == without_times(alone)
    trained = [line for line in told if "step" in line]
    assert {line.partition(": ")[0] for line in trained} == {
        f"Recurrent, seed {seed}, lr {lr}"
        for seed, lr in ((0, "0.003"), (1, "0.003"), (0, "0.001"), (0, "0.009"))
    }
    assert len(trained) == 8
    assert not active_children()
    told.clear()
    again = run_probe(settings(STABLE, seeds=2), told.append, tmp_path).to_json()
    assert not [line for line in told if "step" in line]  # all were kept
    assert again["models"] == beside["models"]


def test_an_error_in_one_training_ends_the_others() -> None:
    endless = settings(STABLE, DIVERGING, steps=10**9, jobs=2, groups=("task",))
    with pytest.raises(EvaluationError, match="the training of Diverging has a finite loss"):
        run_probe(endless)
    assert not active_children()
