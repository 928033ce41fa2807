"""Searches of one space side by side: what each found and what it cost, over the seeds that are
given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from clso.errors import RunFolderError
from clso.run.entries import Entry, read_entry
from clso.run.folder import RunFolder

__all__ = ["compare_searches", "holds_search"]

_CONFIDENCE = 0.95
# What a side is not told apart by: where, and with which draws it was run.
_INCIDENTAL = ("seed", "device", "energy", "idle_s")


@dataclass(frozen=True)
class _Run:
    entry: Entry
    settings: dict[str, Any]
    seed: int
    evaluations: int | None


def holds_search(path: Path) -> bool:
    """Whether a finished folder holds values of a space that is no language model. Raises
    `RunFolderError`."""
    return "test_loss" not in RunFolder.open(path).read_result()["best"]


def compare_searches(paths: Sequence[Path]) -> dict[str, Any]:
    """Sides, in the order given; folders that differ only in their seed are one side.

    A side's figures are means over its seeds. `differences` are of the best values, each other side
    minus the first, with a 95 % interval of Student's t where both have several seeds: of the
    differences by seed if the seeds are the same, else Welch's. `better` is True or False only if
    the interval leaves out 0.

    Raises `RunFolderError` for an unfinished folder, for folders of different spaces, tasks, options
    or measures, and for a seed that a side has twice."""
    runs = [_read(path) for path in paths]
    for run in runs:
        _require_alike(run, runs[0])
    sides: dict[str, list[_Run]] = {}
    for run in runs:
        settings = {k: v for k, v in run.settings.items() if k not in _INCIDENTAL}
        sides.setdefault(repr((run.entry.name, settings)), []).append(run)
    for side in sides.values():
        seeds = [run.seed for run in side]
        if len(set(seeds)) < len(seeds):
            raise RunFolderError(
                "a side has each seed once", got=[str(run.entry.path) for run in side]
            )
    names = _names(list(sides.values()))
    first, *others = zip(names, sides.values(), strict=True)
    entry = runs[0].entry
    return {
        "space": runs[0].settings["space"],
        "measure": entry.measure,
        "direction": entry.direction,
        "sides": [_side(name, side) for name, side in (first, *others)],
        "differences": [
            {"side": name, "against": first[0], **_difference(side, first[1], entry.sign)}
            for name, side in others
        ],
    }


def _read(path: Path) -> _Run:
    folder = RunFolder.open(path)
    result = folder.read_result()
    if "fitness" not in result["best"]:
        raise RunFolderError(
            "a language model is compared with language models, and a search with searches",
            got=str(path),
        )
    entry = read_entry(path, result, folder.read_manifest())
    config = folder.config
    counts = result.get("counts") or {}
    return _Run(entry, asdict(config), config.seed, counts.get("evaluated"))


def _require_alike(run: _Run, like: _Run) -> None:
    for what in ("space", "task", "options"):
        if run.settings[what] != like.settings[what]:
            raise RunFolderError(
                f"a comparison is over one {what}",
                problem=f"{run.entry.path} has another than {like.settings[what]!r}",
                got=run.settings[what],
            )
    mine, other = ((r.entry.measure, r.entry.direction, r.entry.text) for r in (run, like))
    if mine != other:
        raise RunFolderError(
            "a comparison is over one measure and text",
            problem=f"{run.entry.path} has another than {other}",
            got=mine,
        )


def _names(sides: list[list[_Run]]) -> list[str]:
    """Each side's name, with the settings that tell sides of one name apart."""
    names = [side[0].entry.name for side in sides]
    out = []
    for name, side in zip(names, sides, strict=True):
        same = [s[0].settings for n, s in zip(names, sides, strict=True) if n == name]
        differ = [
            f"{key} {value}"
            for key, value in side[0].settings.items()
            if key not in _INCIDENTAL and any(s[key] != value for s in same)
        ]
        out.append(", ".join([name, *differ]))
    return out


def _side(name: str, side: list[_Run]) -> dict[str, Any]:
    entries = [run.entry for run in side]
    return {
        "name": name,
        "folders": [str(e.path) for e in entries],
        "seeds": [run.seed for run in side],
        "best": fmean(e.score for e in entries),
        "bests": [e.score for e in entries],
        "evaluations": _mean([run.evaluations for run in side]),
        "time_s": fmean(e.time_s for e in entries),
        "energy_j": _mean([e.energy_j for e in entries]),
        "device": ", ".join(dict.fromkeys(e.device for e in entries)),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    """None if one is not known."""
    known = [v for v in values if v is not None]
    return fmean(known) if len(known) == len(values) else None


def _difference(side: list[_Run], first: list[_Run], sign: float) -> dict[str, Any]:
    own = {run.seed: run.entry.score for run in side}
    other = {run.seed: run.entry.score for run in first}
    paired = own.keys() == other.keys()
    difference = fmean(own.values()) - fmean(other.values())
    half = _half_width(own, other, paired=paired)
    interval = None if half is None else [difference - half, difference + half]
    better = None
    if interval is not None and not interval[0] <= 0 <= interval[1]:
        better = sign * difference < 0
    return {
        "difference": difference,
        "interval": interval,
        "paired_by_seed": paired,
        "better": better,
    }


def _half_width(own: dict[int, float], other: dict[int, float], *, paired: bool) -> float | None:
    """Of the interval around the difference of means; None with fewer than two seeds a side."""
    from scipy.stats import t

    if min(len(own), len(other)) < 2:
        return None
    if paired:
        n = len(own)
        error, free = stdev([own[s] - other[s] for s in own]) / math.sqrt(n), float(n - 1)
    else:  # Welch 1947, doi:10.1093/biomet/34.1-2.28
        parts = [(stdev(v.values()) ** 2 / len(v), len(v) - 1) for v in (own, other)]
        variance = sum(part for part, _ in parts)
        error = math.sqrt(variance)
        below = sum(part**2 / n for part, n in parts)
        free = variance**2 / below if below else 1.0
    return float(t.ppf((1 + _CONFIDENCE) / 2, free)) * error
