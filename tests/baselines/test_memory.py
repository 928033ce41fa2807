"""Memory without a GPT-2, and mixed into one that AdamW trained."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clso.baseline import run_baseline
from clso.config import RunConfig
from clso.grown.usual import USUAL_SKIP_CUT, usual_recipe
from clso.models.memory import MemoryModel
from clso.models.store import load_model
from clso.search_spaces.gpt2_memory.genes import default_genome, pruning_of, recipe_of


def test_the_usual_experts_are_those_of_the_hand_set_genome() -> None:
    assert usual_recipe(10) == recipe_of(default_genome(), 10)
    assert usual_recipe(3) == recipe_of(default_genome(), 3)
    assert pruning_of(default_genome()).skip_cut == USUAL_SKIP_CUT


def test_memory_alone_beats_counts_and_asks_no_gpt2(tiny: RunConfig, tmp_path: Path) -> None:
    memory = run_baseline("memory", {}, tiny, tmp_path / "memory")
    counts = run_baseline("ngram", {}, tiny, tmp_path / "ngram")
    assert memory["best"]["test_loss"] < counts["kn3"]["test_loss"]
    model = load_model(tmp_path / "memory" / "best")
    assert isinstance(model, MemoryModel)
    assert not model.recipe.grown
    assert memory["n_bytes"] > model.memory.text.nbytes  # on disk it is its text


def test_adamw_with_memory_is_charged_for_both(tiny: RunConfig, tmp_path: Path) -> None:
    settings = {"memory": True, "steps": 5, "lr": (3e-3,)}
    result = run_baseline("adamw", settings, tiny, tmp_path / "run")
    assert result["best"]["test_loss"] < result["alone"]["test_loss"]
    assert result["time_s"]["library"] > 0
    spent = result["time_s"]["search"] + result["time_s"]["library"]
    assert result["time_of_winner_s"] == pytest.approx(spent)
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert manifest["settings"]["memory"] is True
