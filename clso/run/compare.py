"""A run against baselines: ratios of losses and joules, and a verdict that claims only what was
measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.energy.window import MIN_UPDATES
from clso.errors import RunFolderError
from clso.run.criteria import CRITERIA, criteria_met, measured
from clso.run.entries import Entry, read_folder, require_one_text

__all__ = ["compare_entries", "compare_runs"]


def compare_runs(run: Path, baselines: list[Path]) -> dict[str, Any]:
    """Rows for the run and each baseline, and which criteria the run meets against each.

    Raises `RunFolderError` for an unfinished folder, or folders over different texts.
    """
    own, *others = (_read(path) for path in (run, *baselines))
    for other in others:
        require_one_text(other, own)
    return {
        "rows": [_row(entry) for entry in (own, *others)],
        "verdicts": [compare_entries(own, other) for other in others],
    }


def _read(path: Path) -> Entry:
    entry = read_folder(path)
    if entry.valid_loss is None or entry.text is None:
        raise RunFolderError("a compared folder holds a language model's losses", got=str(path))
    return entry


def compare_entries(own: Entry, other: Entry) -> dict[str, Any]:
    """The verdict on a run of a language model against one baseline over the same text."""
    return _verdict(_row(own), _row(other))


def _verdict(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    same_device = own["device"] == other["device"]
    loss_ratio = own["test_loss"] / other["test_loss"]
    speed_up = other["time_s"] / own["time_s"] if same_device and own["time_s"] else None
    doubt = _doubt(own) or _doubt(other)
    if doubt is None and (not same_device or own["energy_source"] != other["energy_source"]):
        doubt = "the two were measured on different devices or by different sources"
    saved = None if doubt is not None else 1 - own["energy_j"] / other["energy_j"]
    met = criteria_met(CRITERIA, loss_ratio, saved, speed_up)
    return {
        "against": other["name"],
        "loss_ratio": loss_ratio,
        "energy_saved": saved,
        "speed_up": speed_up,
        "criteria_met": [name for name, is_met in met.items() if is_met],
        "reason": None if doubt is None else f"no claim: {doubt}",
    }


def _row(entry: Entry) -> dict[str, Any]:
    return {
        "folder": str(entry.path),
        "name": entry.name,
        "valid_loss": entry.valid_loss,
        "test_loss": entry.score,
        "energy_j": entry.energy_j,
        "energy_net_j": entry.energy_net_j,
        "energy_source": entry.energy_source,
        "energy_reason": entry.energy_reason,
        "energy_resolution_s": entry.energy_resolution_s,
        "time_s": entry.time_s,
        "device": entry.device,
    }


def _doubt(row: dict[str, Any]) -> str | None:
    """Why no saving can be claimed from a row's joules; None if one can."""
    name, joules, time_s = row["name"], row["energy_j"], row["time_s"]
    resolution_s = row.get("energy_resolution_s")
    if joules is None:
        return f"energy of {name} was not measured ({row['energy_reason']})"
    if not measured(joules):
        return f"{name} was too short for its energy source to measure ({joules:g} J)"
    if resolution_s is not None and time_s < MIN_UPDATES * resolution_s:
        return (
            f"{name} took {time_s:.3g} s, too short for an energy source that updates every "
            f"{resolution_s:g} s (clso prove repeats runs in one long window)"
        )
    return None
