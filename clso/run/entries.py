"""A finished folder, run or baseline, reduced to what a comparison shows: name, loss, joules,
seconds, device."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from clso.errors import RunFolderError
from clso.run.folder import RunFolder
from clso.space.measures import sign_of, turned

__all__ = [
    "Entry",
    "finite",
    "models_of",
    "read_entry",
    "read_folder",
    "require_one_text",
    "with_distinct_names",
]


@dataclass(frozen=True)
class Entry:
    """One row of a comparison. `score` is the test loss in nats per token, or the winner's first
    objective of other spaces, as it was measured: `measure` is its name, `direction` "min" or
    "max". `text` is the content hash of the text, None for spaces without one.

    `models` are the scores by name of a folder that holds several models (`ngram`); empty
    otherwise. `alone_j` and `alone_s` are what the winner of a sweep of settings cost by itself,
    None if there was no sweep."""

    path: Path
    name: str
    text: str | None
    score: float
    valid_loss: float | None
    models: dict[str, float]
    energy_j: float | None
    energy_net_j: float | None
    energy_source: str | None
    energy_reason: str | None
    energy_resolution_s: float | None
    time_s: float
    device: str
    alone_j: float | None = None
    alone_s: float | None = None
    measure: str = "loss"
    direction: str = "min"

    @property
    def sign(self) -> float:
        """-1.0 if more is better: the record and `best.fitness` then hold values negated."""
        return sign_of(self.direction)


def read_entry(path: Path, result: dict[str, Any], manifest: dict[str, Any]) -> Entry:
    """Check and reduce. Raises `RunFolderError` if something that every finished folder holds is
    not there."""
    try:
        best, energy, hardware = result["best"], result["energy_j"], manifest["hardware"]
        key = "test_loss" if "test_loss" in best else "fitness"
        swept = len(result.get("by_lr") or ()) > 1
        measure = (result.get("measure") or {}) if key == "fitness" else {"name": "loss"}
        direction = "max" if measure.get("direction") == "max" else "min"
        return Entry(
            path=path,
            name=_name_of(result),
            text=_text_of(manifest),
            score=turned(finite(best[key]), direction),
            valid_loss=finite(best["valid_loss"]) if key == "test_loss" else None,
            models={
                k: turned(finite(v[key]), direction) for k, v in models_of(result, key).items()
            },
            energy_j=None if energy is None else finite(energy["gross"]["total"]),
            energy_net_j=None if energy is None else _optional(energy["net"]["total"]),
            energy_source=None if energy is None else str(energy["source"]),
            energy_reason=result["energy_reason"],
            energy_resolution_s=None if energy is None else _optional(energy.get("resolution_s")),
            time_s=finite(result["time_s"]["total"]),
            device=str((hardware.get("gpu") or {}).get("name") or hardware["device"]),
            alone_j=_optional(result.get("energy_of_winner_j")) if swept else None,
            alone_s=_optional(result.get("time_of_winner_s")) if swept else None,
            measure=str(measure.get("name", "fitness")),
            direction=direction,
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{path / 'result.json'} and its manifest.json hold a finished run or baseline",
            problem=f"a value is missing or of another kind ({type(error).__name__}: {error})",
            remedy="Give folders that `clso evolve` or `clso baseline` finished.",
        ) from error


def read_folder(path: Path) -> Entry:
    """The entry of a finished folder. Raises `RunFolderError`."""
    folder = RunFolder.open(path)
    return read_entry(path, folder.read_result(), folder.read_manifest())


def require_one_text(entry: Entry, like: Entry) -> None:
    """Raises `RunFolderError` if the two cannot stand side by side on one axis."""
    if entry.text != like.text or (entry.valid_loss is None) != (like.valid_loss is None):
        raise RunFolderError(
            "a comparison is over one text and tokenizer",
            got=str(entry.path),
            remedy="Run the baseline with the run's --data and --tokenizer.",
        )


def models_of(result: Mapping[str, Any], key: str = "test_loss") -> dict[str, dict[str, Any]]:
    """The figures by name of the models that a result holds besides its best; each has `key`."""
    return {
        str(name): part
        for name, part in result.items()
        if name != "best" and isinstance(part, dict) and key in part
    }


def _text_of(manifest: Mapping[str, Any]) -> str | None:
    corpus = manifest.get("corpus")
    value = corpus.get("hash") if isinstance(corpus, dict) else None
    return None if value is None else str(value)


def with_distinct_names(entries: Sequence[Entry]) -> tuple[Entry, ...]:
    """Entries whose names repeat get their folder's name added."""
    names = [e.name for e in entries]
    return tuple(
        replace(e, name=f"{e.name} {e.path.name}") if names.count(e.name) > 1 else e
        for e in entries
    )


def finite(value: Any) -> float:
    """`value` as a float. Raises `TypeError` or `ValueError` if it is no finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{value!r} is no number")
    if not math.isfinite(value):
        raise ValueError(f"{value!r} is not finite")
    return float(value)


def _optional(value: Any) -> float | None:
    return None if value is None else finite(value)


def _name_of(result: dict[str, Any]) -> str:
    """What a table calls a result: its baseline, or its space, with the library of a language
    model that has a choice of them."""
    is_language = "test_loss" in result["best"]
    library = f" ({result['library']})" if is_language and "library" in result else ""
    space = str(result.get("space")).rpartition("/")[2]  # of a file no folder
    return str(result.get("baseline") or f"clso {space}{library}")
