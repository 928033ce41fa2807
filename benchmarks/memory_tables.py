"""The tables of docs/memory.md, from the committed records of `benchmarks/memory.py`: `runs/*memory*/*.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["disk", "experts", "records", "runs"]

ROOT = Path(__file__).parents[1]
_NONE = "No record yet."
_PHASES = ("library", "search", "validate", "test")


def records() -> dict[str, dict[str, Any]]:
    """By name, e.g. "english-mix on H100", those that are there."""
    found = sorted(ROOT.glob("runs/*_memory*/*.json"))
    return {path.stem: json.loads(path.read_text()) for path in found}


def runs() -> str:
    """Whole runs: loss, joules, seconds by phase, bytes on disk."""
    rows = [
        [
            name,
            run,
            f"{row['best']['test_loss']:.3f}",
            _joules(row["energy_j"]),
            *(f"{row['time_s'].get(phase, 0):.1f}" for phase in _PHASES),
            f"{sum(row['n_bytes'].values()) / 1e6:.0f}",
        ]
        for name, record in records().items()
        for run, row in record.get("runs", {}).items()
    ]
    head = ["record", "space and seed", "test loss", "J", *(f"{p} s" for p in _PHASES), "MB"]
    return _table(head, rows)


def disk() -> str:
    """The hand-set genome's files: bytes, and seconds to write them, read them and make the tables."""
    rows = [
        [name, f"{sum(row['n_bytes'].values()) / 1e6:.0f}"]
        + [f"{row[key]:.2f}" for key in ("write_s", "read_s", "tables_s")]
        for name, record in records().items()
        for row in record.get("disk", {}).values()
    ]
    return _table(["record", "MB", "write s", "read s", "tables s"], rows)


def experts() -> str:
    """Test loss of the hand-set genome without each expert."""
    rows = [
        [name, left_out, f"{row['test_loss']:.3f}", f"{row['n_bytes'] / 1e6:.0f}"]
        for name, record in records().items()
        for left_out, row in record.get("experts", {}).items()
    ]
    return _table(["record", "left out", "test loss", "MB"], rows)


def _joules(energy: dict[str, Any] | None) -> str:
    total = energy["gross"]["total"] if energy else None
    return "not measured" if total is None else f"{total:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return _NONE
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
