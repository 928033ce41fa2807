"""`benchmarks/memory.py` end to end on a small text: every part, its record as it comes, a time limit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.memory import PARTS, main


@pytest.fixture
def record(english_path: Path, tmp_path: Path) -> Path:
    return tmp_path / "memory.json"


def run(english_path: Path, record: Path, *more: str) -> dict[str, object]:
    small = ["--data", f"text:{english_path}", "--tokenizer", "bpe:300", "--device", "cpu"]
    main([*small, "--gens", "1", "--sizes", "1000", "--out", str(record), *more])
    found: dict[str, object] = json.loads(record.read_text())
    return found


def test_whole_runs_and_the_files_come_first(english_path: Path, record: Path) -> None:
    found = run(english_path, record, "--parts", "runs,disk,sizes")
    assert list(found)[-3:] == ["runs", "disk", "sizes"]
    row = found["runs"]["gpt2-memory 0"]  # type: ignore[index]
    assert row["best"]["test_loss"] > 0
    assert {"library", "search", "validate", "test"} <= set(row["time_s"])
    assert row["n_bytes"]["memory.safetensors"] > 0
    assert found["left_out"] == []


def test_what_there_is_no_time_for_is_named(english_path: Path, record: Path) -> None:
    found = run(english_path, record, "--minutes", "0")
    assert {row["part"] for row in found["left_out"]} == set(PARTS)  # type: ignore[attr-defined]


def test_an_unknown_part_is_refused(
    english_path: Path, record: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        run(english_path, record, "--parts", "runs,energy")
    assert "parts are runs" in capsys.readouterr().err
