"""A probe on disk: `probe.json` (settings, task, models with their metrics, comparisons, manifest),
`manifest.json` and `report.html`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from clso.errors import RunFolderError
from clso.probe.page import write_page
from clso.run.folder import RunFolder

__all__ = ["holds_probe", "read_probe", "require_new", "write_probe"]

_RECORD = "probe.json"


def require_new(path: Path) -> None:
    """Raises `RunFolderError` if something is there already."""
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise RunFolderError(
            "a probe is written into a new folder", got=str(path), remedy="Give another --out."
        )


def holds_probe(path: Path) -> bool:
    """Whether a folder is a probe's."""
    return (path / _RECORD).is_file()


def write_probe(path: Path, record: dict[str, Any], *, page: bool = True) -> None:
    """Create the folder, or replace what it holds; `record` is `Probe.to_json()`. The `page` can be
    made of the record later (`clso report`)."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_json("manifest.json", record["manifest"])
    folder.write_json(_RECORD, record)
    if page:
        folder.write_text("report.html", write_page(record, path.resolve().name))


def read_probe(path: Path) -> dict[str, Any]:
    """The record in a probe.json, or in the folder of one. Raises `RunFolderError` for anything
    else."""
    file = path / _RECORD if path.is_dir() else path
    try:
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            "a probe is read from its folder or probe.json",
            problem=f"{file} cannot be read ({error})",
        ) from error
    if not isinstance(found, dict) or not {"models", "comparisons", "task"} <= found.keys():
        raise RunFolderError(f"{file} is a probe", problem="it has no models")
    return found
