"""Run folders under a folder, a line each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

from clso.config import RunConfig
from clso.errors import ClsoError, RunFolderError
from clso.run.entries import finite
from clso.run.folder import RunFolder
from clso.space.measures import turned

__all__ = ["Line", "State", "list_runs", "state_of"]

State = Literal["finished", "running", "stopped", "damaged"]
"""`stopped`: no process of this machine works on it, because it was interrupted or killed."""


@dataclass(frozen=True)
class Line:
    """One run or baseline. `best` is a test loss or a fitness (`measure` says which), of a run that
    goes on the best so far on its first rung; `energy_j` is gross. `date` is when it last wrote, in
    UTC."""

    folder: str
    name: str
    space: str
    state: State
    measure: str | None
    best: float | None
    evaluations: int | None
    generations: int | None
    energy_j: float | None
    date: str

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def list_runs(root: Path) -> list[Line]:
    """All runs and baselines in `root` and below, latest first. Raises `RunFolderError` if there is
    no such folder."""
    if not root.is_dir():
        raise RunFolderError("runs are looked for in a folder", got=str(root))
    found = [(_written(path), _line(path, root)) for path in _folders(root)]
    return [line for _, line in sorted(found, key=lambda pair: (-pair[0], pair[1].folder))]


def _folders(root: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(root):
        if {"config.toml", "records.jsonl"} <= set(files):
            if "verdict.json" not in files:  # a proof, which is no run
                yield Path(path)
            folders.clear()
        folders[:] = sorted(f for f in folders if not f.startswith("."))


def state_of(folder: RunFolder) -> State:
    """Whether it is finished, being written, or neither."""
    if folder.finished:
        return "finished"
    return "running" if folder.is_being_written else "stopped"


def _written(path: Path) -> float:
    """Seconds since 1970 of its last row, or of its result."""
    return max((path / n).stat().st_mtime for n in ("config.toml", "records.jsonl"))


def _line(path: Path, root: Path) -> Line:
    date = datetime.fromtimestamp(_written(path), timezone.utc).strftime("%Y-%m-%d %H:%M")
    name = str(path.relative_to(root)) if path != root else path.resolve().name
    try:
        folder = RunFolder.open(path)
        config = folder.config
        found = _finished(folder) if folder.finished else _unfinished(folder, config)
        return Line(str(path), name, **{"space": config.space, **found}, date=date)
    except (ClsoError, KeyError, TypeError, ValueError):
        nothing = dict.fromkeys(("measure", "best", "evaluations", "generations", "energy_j"))
        return Line(str(path), name, "", "damaged", date=date, **nothing)


def _finished(folder: RunFolder) -> dict[str, Any]:
    result = folder.read_result()
    best, counts = result["best"], result.get("counts") or {}
    measure = "test_loss" if "test_loss" in best else "fitness"
    energy = result["energy_j"]
    direction = (
        (result.get("measure") or {}).get("direction", "min") if measure == "fitness" else "min"
    )
    of_baseline = {"space": f"baseline {result['baseline']}"} if "baseline" in result else {}
    return {
        "state": "finished",
        "measure": measure,
        "best": turned(finite(best[measure]), direction),
        "evaluations": counts.get("evaluated"),
        "generations": counts.get("generations"),
        "energy_j": None if energy is None else energy["gross"]["total"],
        **of_baseline,
    }


def _unfinished(folder: RunFolder, config: RunConfig) -> dict[str, Any]:
    best, n, generation = None, 0, 0
    for row in folder.records():
        n += row["type"] == "evaluation"
        if row["type"] == "generation":
            best, generation = finite(row["best"]), row["generation"]
    return {
        "state": state_of(folder),
        "measure": "best so far",
        "best": best,
        "evaluations": n,
        "generations": generation,
        "energy_j": None,
    }
