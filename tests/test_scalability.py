"""Larger models: the record is written row by row and goes on, and its tables say what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import scalability, scalability_tables
from clso.config import RunConfig


def clso(loss: float, joules: float | None) -> dict[str, Any]:
    return {
        "n_parameters": 354_000_000,
        "test_loss": loss,
        "energy_j": None if joules is None else {"total": joules},
        "net_j": None if joules is None else joules / 2,
        "time_s": {"total": 2.0},
    }


def adamw(loss: float, joules: float) -> dict[str, Any]:
    return {"test_loss": loss, "energy_j": joules}


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(scalability_tables, "ROOT", tmp_path)
    folder = tmp_path / "runs" / "2026_scalability"
    folder.mkdir(parents=True)
    return folder / "h200.json"


def test_the_tables_say_what_was_reached_and_what_was_not(record: Path) -> None:
    assert scalability_tables.scalability() == "No record yet."
    rows = {
        "clso": {
            "2x128 gpt2": clso(5.5, 100.0),
            "24x1024 gpt2": clso(5.4, 720.0),
            "24x1024 gpt2-memory": clso(4.9, 900.0),
        },
        "adamw": {
            "2x128 0.001 125": adamw(6.0, 500.0),
            "2x128 0.001 250": adamw(5.5, 1000.0),
            "24x1024 0.001 250": adamw(6.0, 7200.0),
            "24x1024 0.001 500": adamw(5.4, 14400.0),
        },
    }
    record.write_text(json.dumps(rows))
    _, _, small, medium, memory = scalability_tables.scalability().splitlines()
    assert small.startswith(
        "| h200 | 2 x 128 | 354.0 M | `gpt2` | 5.500 | 100 | 50 | 2.0 | 1,000 | 0.100 |"
    )
    assert medium.endswith("| 14,400 | 0.050 |")
    assert memory.endswith("| not within 14,400 | < 0.062 |")
    said, of_memory = scalability_tables.supported().splitlines()
    assert "0.100 at 2x128, 0.050 at 24x1024: savings grow with each size here." in said
    assert "do not say whether savings grow" in of_memory
    assert of_memory.endswith("Not reached within the time given at 24x1024.")
    lines = scalability_tables.projections().splitlines()
    assert lines[3] == (
        "| 355 M | 500 | 100 | 80 % | 0.2 (`gpt2`, h200); 0.25 (`gpt2-memory`, h200) | 4; > 4 | 95%; > 94% |"
    )
    assert lines[5].endswith("| not measured | not measured | not measured |")


def test_without_joules_nothing_is_claimed(record: Path) -> None:
    record.write_text(json.dumps({"clso": {"2x128 gpt2": clso(5.5, None)}}))
    assert (
        "| not measured | not measured | 2.0 | not measured | - |"
        in scalability_tables.scalability()
    )
    assert scalability_tables.supported() == "No record yet."


def test_it_goes_on_where_it_was(tiny: RunConfig, tmp_path: Path) -> None:
    out = tmp_path / "record.json"
    command = ["--data", tiny.data, "--tokenizer", "bytes", "--device", "cpu", "--energy", "null",
               "--spaces", "gpt2", "--gens", "1", "--batch", "2", "--rates", "1e-3,1e-2", "--out", str(out)]  # fmt: skip
    scalability.main([*command, "--sizes", "2x32", "--steps", "2"])
    first = json.loads(out.read_text())
    assert list(first["clso"]) == ["2x32 gpt2"]
    assert list(first["adamw"]) == ["2x32 0.001 2", "2x32 0.01 2"]
    assert first["left_out"] == []
    scalability.main([*command, "--sizes", "2x32", "--steps", "2,4"])
    second = json.loads(out.read_text())
    assert second["clso"] == first["clso"]
    best = min(first["adamw"].values(), key=lambda row: row["valid_loss"])
    assert list(second["adamw"])[2:] == [f"2x32 {best['rate']:g} 4"]
    with pytest.raises(SystemExit, match="another corpus"):
        scalability.main([*(c if c != "bytes" else "bpe:300" for c in command), "--sizes", "2x32"])
