"""A run against baselines: ratios of losses and joules, and a verdict that claims only what was measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.errors import RunFolderError
from clso.records import RunFolder

__all__ = ["CRITERIA", "compare_runs"]

CRITERIA = (
    # name, CLSO's loss over the baseline's is at most, energy saved is more than, speed-up is at least
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
    result = folder.read_json("result.json")
    manifest = folder.read_json("manifest.json")
    try:
        return _row(path, result, manifest), manifest["corpus"]["hash"]
    except (KeyError, TypeError, AttributeError) as error:
        raise RunFolderError("a compared folder holds a language model's losses", got=str(path)) from error


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
        "time_s": result["time_s"]["total"],
        "device": (manifest["hardware"].get("gpu") or {}).get("name") or manifest["hardware"]["device"],
    }


def _verdict(own: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    loss_ratio = own["test_loss"] / other["test_loss"]
    comparable = own["device"] == other["device"]
    speed_up = other["time_s"] / own["time_s"] if comparable and own["time_s"] else None
    reason = None
    saved = None
    if own["energy_j"] is None or other["energy_j"] is None:
        missing = own if own["energy_j"] is None else other
        reason = f"no claim: energy of {missing['name']} was not measured ({missing['energy_reason']})"
    elif not comparable or own["energy_source"] != other["energy_source"]:
        reason = "no claim: the two were measured on different devices or by different sources"
    elif other["energy_j"] <= 0:
        reason = f"no claim: {other['name']} was too short for its energy source to measure"
    else:
        saved = 1 - own["energy_j"] / other["energy_j"]
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
