"""A probe on disk: `probe.json` (settings, task, models with their metrics, comparisons, manifest),
`manifest.json` and `report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.errors import RunFolderError
from clso.run.folder import RunFolder

__all__ = ["TRAINED", "holds_probe", "read_probe", "require_new", "write_probe"]

_RECORD = "probe.json"
TRAINED = "trained"
"""Folder of the trainings of a probe that was stopped; the same command reads them."""


def require_new(path: Path) -> None:
    """Raises `RunFolderError` if something is there already, but for trainings of a probe that was
    stopped."""
    if path.exists() and not (path.is_dir() and all(p.name == TRAINED for p in path.iterdir())):
        raise RunFolderError(
            "a probe is written into a new folder", got=str(path), remedy="Give another --out."
        )


def holds_probe(path: Path) -> bool:
    """Whether a folder is a probe's."""
    return (path / _RECORD).is_file()


def write_probe(
    path: Path, record: dict[str, Any], *, page: bool = True, indent: int | None = 2
) -> None:
    """Create the folder, or replace what it holds; `record` is `Probe.to_json()`. The `page` can be
    made of the record later (`clso report`)."""
    path.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(path)
    folder.write_json("manifest.json", record["manifest"])
    folder.write_json(_RECORD, record, indent=indent)
    if page:
        from clso.probe.page import write_page  # with matplotlib, slow to import

        folder.write_text("report.html", write_page(record, path.resolve().name))


def read_probe(path: Path) -> dict[str, Any]:
    """The record in a probe.json, or in the folder of one. Raises `RunFolderError` for anything
    else."""
    file = path / _RECORD if path.is_dir() else path
    try:
        found: dict[str, Any] = parse_json(read_regular(file))
    except (OSError, ValueError) as error:
        raise RunFolderError(
            "a probe is read from its folder or probe.json",
            problem=f"{file} cannot be read ({error})",
        ) from error
    if not isinstance(found, dict) or not {"models", "comparisons", "task"} <= found.keys():
        raise RunFolderError(f"{file} is a probe", problem="it has no models")
    return found
