"""The tables of counted memory: joules if they were measured, and a word if there is no record."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import median
from typing import Any

import pytest

from benchmarks import memory_tables

ROOT = Path(__file__).parents[1]

RUN: dict[str, Any] = {
    "best": {"test_loss": 2.5},
    "energy_j": {"gross": {"total": 12.3}},
    "time_s": {"search": 3.0},
    "n_bytes": {"memory.safetensors": 2_000_000},
}


def test_a_run_with_joules_and_one_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory_tables, "ROOT", tmp_path)
    assert memory_tables.runs() == "No record yet."
    folder = tmp_path / "runs" / "2026_memory"
    folder.mkdir(parents=True)
    rows = {"gpt2-memory 0": RUN, "gpt2-memory 1": RUN | {"energy_j": None}}
    (folder / "text-h100.json").write_text(json.dumps({"runs": rows}))
    _, _, first, second = memory_tables.runs().splitlines()
    assert first == "| text-h100 | gpt2-memory 0 | 2.500 | 12 | 0.0 | 3.0 | 0.0 | 0.0 | 2 |"
    assert "| not measured |" in second


def test_the_readme_states_what_the_records_hold() -> None:
    readme = (ROOT / "README.md").read_text()
    for name in ("python-stdlib-cpu", "wikitext-h100", "english-mix-h100"):
        record = json.loads((ROOT / "runs" / "2026-11-29_memory" / f"{name}.json").read_text())
        best = median(run["best"]["test_loss"] for run in record["runs"].values())
        assert f" {best:.3f} " in readme or f" {best:.3f}," in readme, (name, best)
