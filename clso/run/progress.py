"""How far a run is, from its folder alone: for whoever watches it from another process."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.run.folder import RunFolder
from clso.run.listing import State, state_of
from clso.run.trials import manifest_of, read_trials
from clso.space.measures import turned
from clso.space.trials import Trials

__all__ = ["Progress", "read_progress"]


@dataclass(frozen=True)
class Progress:
    """`best` is of the first rung; `rate` in evaluations a second of search, `eta_s` seconds to the
    last generation at the rate of generations so far; both None before they are known. `joules` are
    those at the last checkpoint."""

    name: str
    state: State
    generation: int
    generations: int
    n_evaluated: int
    n_failed: int
    measure: str
    best: float | None
    alleles: dict[str, str | int]
    curve: tuple[float, ...]
    correlation: float | None
    trusted: bool
    time_s: float | None
    rate: float | None
    eta_s: float | None
    joules: float | None


def read_progress(path: Path) -> Progress:
    """Read the record as it is now. Raises `RunFolderError` if there is no run, or it is
    damaged."""
    folder = RunFolder.open(path)
    state = state_of(folder)  # before the record: what is written in between is then not missed
    trials = read_trials(path)
    rows = [row for row in folder.records() if row["type"] == "generation"]
    last: dict[str, Any] = rows[-1] if rows else {}
    n, total = len(rows), folder.config.gens
    time_s = folder.times().get(n) if rows else None
    searched = [t.evaluation for t in trials.trials if t.generation is not None]
    best = min((e for e in searched if e.ok), key=trials.badness, default=None)
    return Progress(
        name=path.resolve().name,
        state=state,
        generation=n,
        generations=total,
        n_evaluated=len(searched),
        n_failed=sum(not e.ok for e in searched),
        measure=trials.objectives[0],
        best=None if best is None else best.value,
        alleles=_alleles(trials, best.genome) if best else {},
        curve=tuple(turned(float(row["best"]), trials.direction) for row in rows),
        correlation=last.get("audit_correlation"),
        trusted=bool(last.get("surrogate_trusted")),
        time_s=time_s,
        rate=len(searched) / time_s if time_s else None,
        eta_s=time_s / n * max(total - n, 0) if time_s and n else None,
        joules=_joules(folder),
    )


def _alleles(trials: Trials, genome: tuple[int, ...]) -> dict[str, str | int]:
    labels = zip(trials.genes, trials.labels(genome), strict=True)
    return {gene.name: label for gene, label in labels if label is not None}


def _joules(folder: RunFolder) -> float | None:
    """At the last checkpoint; None if they are not measured."""
    if (manifest_of(folder).get("energy") or {}).get("reason") is not None:
        return None
    try:
        ledger = folder.read_json("checkpoint.json")["state"]["ledger"]
        return float(sum(phase["energy_j"] for phase in ledger.values()))
    except Exception:  # not there yet, or a phase without joules: a glance decides nothing
        return None
