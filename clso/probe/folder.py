"""A probe on disk: `probe.json` (settings, task, models with their metrics, comparisons, manifest),
`manifest.json` and `report.html`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.disk import shape
from clso.disk.files import read_regular
from clso.disk.parsing import parse_json
from clso.errors import RunFolderError
from clso.probe.curves import PLOTS, Keys
from clso.probe.metrics import METRICS
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
    try:
        _PROBE(found, "it")
    except ValueError as error:
        raise RunFolderError(f"{file} is a probe", problem=str(error)) from error
    return found


_PAIR = shape.kind(
    "two numbers",
    lambda point: type(point) is list and len(point) == 2 and all(map(shape.is_number, point)),
)
_DETAIL = {"standard_error": shape.or_none(shape.number), "form": shape.or_none(shape.text)}


def _figure(point: shape.Check) -> shape.Check:
    spread = shape.table({"n": shape.number, "std": shape.number})
    return shape.table(
        {
            "value": shape.or_none(shape.number),
            "reason": shape.or_none(shape.text),
            "spread": shape.or_none(spread),
            "detail": shape.table({}, {**_DETAIL, "points": shape.list_of(point)}),
        }
    )


def _point(keys: Keys) -> shape.Check:
    return _PAIR if keys is None else shape.table(dict.fromkeys(keys, shape.number))


_FIGURES = {metric.name: _figure(lambda value, at: None) for metric in METRICS}
_FIGURES |= {metric: _figure(_point(keys)) for _, _, metric, keys, *_ in PLOTS}
_NUMBERS = ("difference", "low", "high", "p", "p_holm", "cliffs_delta")
_PROBE = shape.table(
    {
        "settings": shape.table({"seeds": shape.count, "device": shape.text}),
        "task": shape.table({"task": shape.text, "options": shape.by_name(shape.plain)}),
        "models": shape.list_of(
            shape.table({"name": shape.text, "metrics": shape.table({}, _FIGURES)})
        ),
        "comparisons": shape.list_of(
            shape.table(
                {
                    **dict.fromkeys(("model", "against", "metric"), shape.text),
                    **dict.fromkeys(_NUMBERS, shape.number),
                    "hedges_g": shape.or_none(shape.number),
                }
            )
        ),
        "manifest": shape.table({}),
    }
)
