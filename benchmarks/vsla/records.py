"""Records of this benchmark: one JSON row a line, each with the part it belongs to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

__all__ = ["ENDED", "ROOT", "SHARES", "Rows", "layout_ratio", "of_part", "read", "records"]

ENDED = "ended early"
"""Status of a row that stands for the rest of a part: it failed, or its minutes were over."""
ROOT = Path(__file__).parents[2]
SHARES = {"member": 0.5, "small_member": 0.2}
"""Of the full-attention winner's bytes: what a member of the front has at most, by its key in a row."""
Rows = list[dict[str, Any]]


def read(folder: Path) -> Rows:
    """The rows of a record."""
    return [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]


def records() -> dict[str, Path]:
    """The latest record of each device that has one."""
    found = {}
    for device in ("cpu", "h100"):
        folders = sorted((ROOT / "runs").glob(f"*_vsla-{device}"))
        if folders:
            found[device.upper()] = folders[-1]
    return found


def of_part(rows: Rows, part: str) -> Rows:
    """A part's rows, without those that say how a part ended early."""
    return [row for row in rows if row["part"] == part and row.get("status") != ENDED]


def layout_ratio(
    rows: Rows, mix: str, micro: int, quantity: str, against: str = "padded"
) -> float | None:
    """How many times as much of a quantity (time_s, peak_bytes, n_slots) a layout takes as packed; None: not measured."""
    cells = {
        r["layout"]: r for r in of_part(rows, "layouts") if (r["mix"], r["micro"]) == (mix, micro)
    }
    values = [
        cells[layout].get(quantity) if layout in cells else None for layout in (against, "packed")
    ]
    return values[0] / values[1] if values[0] and values[1] else None
