"""The tables of larger models in docs/results.md, from `runs/*_scalability/*.json` (`benchmarks/scalability.py`)."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.plot_crossover import joules_to_reach

__all__ = ["projections", "records", "scalability", "supported"]

ROOT = Path(__file__).parents[1]
_NONE = "No record yet."
_JOULES_PER_WH = 3600

PUBLISHED = (
    ("2x128", "~1 M", "5 to 10", "1.93", "60 to 80 %"),
    ("24x1024", "355 M", "500", "100", "80 %"),
    ("36x1280", "774 M", "1,000", "200", "80 %"),
    (None, "175 B", "100,000", "20,000", "80 %"),
)
"""Size, parameters, Wh of the baseline and of CLSO, saving: PROOF_STRATEGY.md of codenlighten/CLSO-training, dc3436e."""


def records() -> dict[str, dict[str, Any]]:
    """By the GPU's name as the file has it."""
    found = sorted(ROOT.glob("runs/*_scalability/*.json"))
    return {path.stem: json.loads(path.read_text()) for path in found}


def to_reach(record: dict[str, Any], size: str, loss: float) -> tuple[float, float]:
    """AdamW's joules to a test loss, infinite for a miss; and the most that one training was given."""
    points = [
        (row["energy_j"], row["test_loss"])
        for name, row in record.get("adamw", {}).items()
        if name.split()[0] == size and row["energy_j"] is not None
    ]
    if not points:
        return math.inf, 0.0
    return joules_to_reach(points, loss), max(joules for joules, _ in points)


def _rows(record: dict[str, Any]) -> list[tuple[str, str, dict[str, Any], float, float]]:
    """Size, space, CLSO's row, AdamW's joules to its loss, and the most that AdamW was given."""
    out = []
    for name, row in record.get("clso", {}).items():
        size, space = name.split()
        out.append((size, space, row, *to_reach(record, size, row["test_loss"])))
    return out


def scalability() -> str:
    """Whole runs by size, and what AdamW needs for their loss."""
    head = [
        "record",
        "layers x width",
        "parameters",
        "space",
        "CLSO, test loss",
        "CLSO, J gross",
        "net",
        "seconds",
        "AdamW, J to that loss",
        "ratio",
    ]
    lines = []
    for gpu, record in records().items():
        for size, space, row, joules, given in _rows(record):
            own = row["energy_j"] and row["energy_j"]["total"]
            lines.append(
                [
                    gpu,
                    size.replace("x", " x "),
                    f"{row['n_parameters'] / 1e6:.1f} M",
                    f"`{space}`",
                    f"{row['test_loss']:.3f}",
                    _joules(own),
                    _joules(row["net_j"]),
                    f"{row['time_s']['total']:.1f}",
                    _joules(joules) if math.isfinite(joules) else _missed(given),
                    _ratio(own, joules, given),
                ]
            )
    return _table(head, lines)


def supported() -> str:
    """What the records say of "savings grow with size", by space: CLSO's share of AdamW's joules to
    the same loss."""
    sentences = []
    for gpu, record in records().items():
        rows = [row for row in _rows(record) if row[2]["energy_j"]]
        for space in dict.fromkeys(row[1] for row in rows):
            own = [row for row in rows if row[1] == space]
            sentences.append(f"- `{space}` on {gpu}: {_supported(own)}")
    return "\n".join(sentences) or _NONE


def _supported(own: list[tuple[str, str, dict[str, Any], float, float]]) -> str:
    first, last = own[0], own[-1]
    text = (
        f"its test loss goes from {first[2]['test_loss']:.3f} ({first[0]}) "
        f"to {last[2]['test_loss']:.3f} ({last[0]}). "
    )
    shares = [
        (size, row["energy_j"]["total"] / joules)
        for size, _, row, joules, _ in own
        if math.isfinite(joules)
    ]
    if len(shares) > 1:
        falls = all(after < before for (_, before), (_, after) in pairwise(shares))
        listed = ", ".join(f"{share:.3f} at {size}" for size, share in shares)
        text += (
            f"CLSO's share of AdamW's joules to the same loss is {listed}: "
            f"savings {'grow' if falls else 'do not grow'} with each size here."
        )
    else:
        text += (
            "AdamW reached the same loss at fewer than two sizes, "
            "so these records do not say whether savings grow with size."
        )
    missed = ", ".join(size for size, _, _, joules, _ in own if not math.isfinite(joules))
    return text + (f" Not reached within the time given at {missed}." if missed else "")


def projections() -> str:
    """The four published projections, and what was measured at their sizes."""
    head = [
        "parameters",
        "published: baseline, Wh",
        "CLSO, Wh",
        "saving",
        "measured: CLSO, Wh",
        "AdamW to the same loss, Wh",
        "saving",
    ]
    lines = []
    for size, *published in PUBLISHED:
        shown = [
            _measured(gpu, space, row["energy_j"]["total"], joules, given)
            for gpu, record in records().items()
            for own, space, row, joules, given in _rows(record)
            if own == size and row["energy_j"]
        ]
        columns = zip(*shown, strict=True)
        lines.append([*published, *("; ".join(column) for column in columns)])
        lines[-1] += ["not measured"] * (len(head) - len(lines[-1]))
    return _table(head, lines)


def _measured(gpu: str, space: str, own: float, joules: float, given: float) -> tuple[str, ...]:
    """CLSO's watt-hours, AdamW's, and the saving; a bound if AdamW was stopped before."""
    cells = f"{_wh(own)} (`{space}`, {gpu})"
    if math.isfinite(joules):
        return cells, _wh(joules), f"{1 - own / joules:.0%}"
    return cells, f"> {_wh(given)}", f"> {1 - own / given:.0%}" if given > own else "open"


def _wh(joules: float) -> str:
    return f"{joules / _JOULES_PER_WH:.3g}"


def _missed(given: float) -> str:
    return f"not within {given:,.0f}" if given else "not measured"


def _ratio(own: float | None, joules: float, given: float) -> str:
    if own is None:
        return "-"
    if math.isfinite(joules):
        return f"{own / joules:.3f}"
    return f"< {own / given:.3f}" if given > own else "-"


def _joules(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return _NONE
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
