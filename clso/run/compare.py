"""A run against baselines: ratios of losses and joules, and a verdict that claims only what was
measured."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from clso.energy.window import MIN_UPDATES
from clso.errors import RunFolderError
from clso.run.folder import RunFolder

__all__ = ["CRITERIA", "compare_runs", "measured"]

CRITERIA = (
    # name, CLSO's loss over the baseline's is at most, energy saved is more than, speed-up is at
    # least
    ("minimum", 1.20, 0.50, None),
    ("expected", 1.10, 0.60, 4.0),
    ("exceptional", 1.00, 0.70, 5.0),
)
"""The mission's success criteria. "Better" loss means a ratio below 1."""


def compare_runs(run: Path, baselines: list[Path]) -> dict[str, Any]:
    """Rows for the run and each baseline, and which criteria the run meets against each.

    Raises `RunFolderError` for an unfinished folder, or folders over different texts.
    """
    own, own_hash = _read(run)
    rows = [own]
    verdicts = []
    for path in baselines:
        other, other_hash = _read(path)
        if own_hash != other_hash:
            raise RunFolderError(
                "a comparison is over one text and tokenizer",
                got=str(path),
                remedy="Run the baseline with the run's --data and --tokenizer.",
            )
        rows.append(other)
        verdicts.append(_verdict(own, other))
    return {"rows": rows, "verdicts": verdicts}


def _read(path: Path) -> tuple[dict[str, Any], str]:
    folder = RunFolder.open(path)
    result, manifest = folder.read_result(), folder.read_manifest()
    try:
        return _row(path, result, manifest), manifest["corpus"]["hash"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError(
            "a compared folder holds a language model's losses", got=str(path)
        ) from error


def _row(path: Path, result: dict[str, Any], manifest: dict[str, Any]) -> dict[str, Any]:
    best, energy = result["best"], result["energy_j"]
    return {
        "folder": str(path),
        "name": result.get("baseline") or f"clso {result.get('space')} ({result.get('library')})",
        "valid_loss": best["valid_loss"],
        "test_loss": best["test_loss"],
        "energy_j": energy["gross"]["total"] if energy else None,
        "energy_net_j": energy["net"]["total"] if energy else None,
        "energy_source": energy["source"] if energy else None,
        "energy_reason": result.get("energy_reason"),
        "energy_resolution_s": energy.get("resolution_s") if energy else None,
        "time_s": result["time_s"]["total"],
        "device": (manifest["hardware"].get("gpu") or {}).get("name")
        or manifest["hardware"]["device"],
    }


def _verdict(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    loss_ratio = own["test_loss"] / other["test_loss"]
    comparable = own["device"] == other["device"]
    speed_up = other["time_s"] / own["time_s"] if comparable and own["time_s"] else None
    doubt = _doubt(own) or _doubt(other)
    if doubt is None and (not comparable or own["energy_source"] != other["energy_source"]):
        doubt = "the two were measured on different devices or by different sources"
    reason = None if doubt is None else f"no claim: {doubt}"
    saved = None if doubt else 1 - own["energy_j"] / other["energy_j"]
    met = []
    for name, loss_at_most, saved_more_than, speed_at_least in CRITERIA:
        loss_ok = loss_ratio < 1 if loss_at_most == 1.0 else loss_ratio <= loss_at_most
        speed_ok = speed_at_least is None or (speed_up is not None and speed_up >= speed_at_least)
        if saved is not None and loss_ok and saved > saved_more_than and speed_ok:
            met.append(name)
    return {
        "against": other["name"],
        "loss_ratio": loss_ratio,
        "energy_saved": saved,
        "speed_up": speed_up,
        "criteria_met": met,
        "reason": reason,
    }


def measured(joules: float | None) -> bool:
    """Whether this can be what something cost: nothing costs 0 J, or less."""
    return joules is not None and 0 < joules < math.inf


def _doubt(row: dict[str, Any]) -> str | None:
    """Why no saving can be claimed from a row's joules; None if one can."""
    joules, time_s, resolution_s = row["energy_j"], row["time_s"], row.get("energy_resolution_s")
    if joules is None:
        return f"energy of {row['name']} was not measured ({row['energy_reason']})"
    if not measured(joules):
        return f"{row['name']} was too short for its energy source to measure ({joules:g} J)"
    if resolution_s is not None and time_s < MIN_UPDATES * resolution_s:
        return (
            f"{row['name']} took {time_s:.3g} s, too short for an energy source that updates every {resolution_s:g} s "
            "(clso prove repeats runs in one long window)"
        )
    return None
