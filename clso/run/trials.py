"""The trials of a run folder, finished or not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.errors import ClsoError, RunFolderError
from clso.run.folder import RunFolder
from clso.run.schema import check_row
from clso.space.genome import Gene
from clso.space.measures import sign_of
from clso.space.results import Evaluation
from clso.space.trials import Trial, Trials

__all__ = ["genes_of", "manifest_of", "objectives_of", "read_trials"]


def read_trials(path: Path) -> Trials:
    """Every evaluation in the record of the folder at `path`, those on higher rungs at the end.

    Raises `RunFolderError` if there is no run, or its record is damaged."""
    folder = RunFolder.open(path)
    if folder.finished:
        folder.require_written("records.jsonl")
    times, trials = folder.times(), []
    number = 0
    try:
        for number, row in enumerate(folder.records(), 1):  # noqa: B007
            check_row(row)
            if row["type"] == "evaluation":
                at = row["generation"]
                trials.append(Trial(Evaluation.from_json(row), at, times.get(at)))
    except (KeyError, TypeError, ValueError, ClsoError) as error:
        raise RunFolderError(
            f"{path / 'records.jsonl'} is whole",
            problem=f"line {number} cannot be used ({error})",
        ) from error
    genes = genes_of(manifest_of(folder), trials)
    objectives, signs = objectives_of(folder, trials)
    if any(s < 0 for s in signs):
        trials = [trial.shown(signs) for trial in trials]
    if any(len(t.evaluation.genome) != len(genes) for t in trials):
        raise RunFolderError(f"genomes in {path / 'records.jsonl'} have {len(genes)} genes")
    directions = tuple("max" if s < 0 else "min" for s in signs)
    return Trials(genes, objectives, tuple(trials), directions)


def manifest_of(folder: RunFolder) -> dict[str, Any]:
    """The manifest, also of a run that goes on; empty before it is written."""
    if folder.finished:
        return folder.read_manifest()
    exists = (folder.path / "manifest.json").exists()
    return folder.read_json("manifest.json") if exists else {}


def genes_of(manifest: dict[str, Any], trials: list[Trial]) -> tuple[Gene, ...]:
    """The genes as the manifest has them; those of older runs have no labels, and of runs that
    wrote no manifest yet no names."""
    found = manifest.get("genes")
    if isinstance(found, list) and all(isinstance(g, dict) and "name" in g for g in found):
        return tuple(_gene(g) for g in found)
    n = len(trials[0].evaluation.genome) if trials else 0
    return tuple(Gene(f"g{i}", ()) for i in range(n))


def _gene(found: dict[str, Any]) -> Gene:
    choices = found.get("choices")
    unless = tuple((str(name), str(label)) for name, label in found.get("unless", ()))
    when = tuple((str(name), tuple(map(str, labels))) for name, labels in found.get("when", ()))
    labels = tuple(choices) if isinstance(choices, list) else ()
    return Gene(str(found["name"]), labels, unless, when, bool(found.get("ordered", False)))


def objectives_of(folder: RunFolder, trials: list[Trial]) -> tuple[tuple[str, ...], list[float]]:
    """Names of the values in the record, and 1.0 or, for what is to be large, -1.0."""
    n = max((len(t.evaluation.values) for t in trials), default=1) or 1
    result = folder.read_result() if folder.finished else {}
    measure = result.get("measure") or {}
    names = [str(name) for name in result.get("objectives") or folder.config.objective]
    if "objectives" not in result and names[:1] in ([], ["loss"]):
        names[:1] = [str(measure.get("name") or _noun(folder))]
    directions = result.get("directions") or [measure.get("direction", "min")]
    if len(names) != n:
        names = ["value", *(f"value {i}" for i in range(2, n + 1))]
    signs = [sign_of(d) for d in directions]
    return tuple(names), (signs + [1.0] * n)[:n]


def _noun(folder: RunFolder) -> str:
    """What a run's first value is called that says no name for it."""
    return "fitness" if manifest_of(folder).get("corpus") is None else "loss"
