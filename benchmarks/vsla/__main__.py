"""Measure VSLA and write a record, or the tables from records.

    python -m benchmarks.vsla --out runs/DATE_vsla-cpu                     # on this machine's best device
    python -m benchmarks.vsla --out runs/DATE_vsla-h100 --part layouts --part large
    python -m benchmarks.vsla --claims runs/DATE_vsla-cpu                  # the published figures against it
    python -m benchmarks.vsla --tables                                     # docs/vsla.md anew

A part that fails is a row that says so; the others go on. Rows are written as they come, so that a stop loses nothing.
"""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.vsla import contexts, front, large, layouts, patterns, stacking, tables
from benchmarks.vsla.claims import claims_table
from benchmarks.vsla.records import read
from clso.device import resolve_device
from clso.run.manifest import describe_device, describe_software

PARTS: dict[str, Callable[[str], Iterator[dict[str, Any]]]] = {
    "stacking": stacking.measure,
    "layouts": layouts.measure,
    "patterns": patterns.measure,
    "large": large.measure,
    "contexts": contexts.measure,
    "front": front.measure,
}


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the record; parts that it holds are kept.",
)
@click.option(
    "--part",
    "wanted",
    multiple=True,
    type=click.Choice(list(PARTS)),
    help="Only this (default: all).",
)
@click.option("--device", default="auto", show_default=True)
@click.option(
    "--claims",
    type=click.Path(path_type=Path, exists=True),
    help="Print the published figures against a record.",
)
@click.option(
    "--tables",
    "write_tables",
    is_flag=True,
    help="Write the tables of docs/vsla.md from the records.",
)
def main(
    out: Path | None, wanted: tuple[str, ...], device: str, claims: Path | None, write_tables: bool
) -> None:
    """Measure, judge, or write tables."""
    if claims is not None:
        click.echo(claims_table(read(claims)))
    if write_tables:
        tables.PAGE.write_text(tables.rewritten())
    if out is None:
        return
    where = resolve_device(device)
    out.mkdir(parents=True, exist_ok=True)
    record = out / "rows.jsonl"
    kept = (
        [row for row in read(out) if wanted and row["part"] not in wanted]
        if record.exists()
        else []
    )
    record.write_text("".join(json.dumps(row) + "\n" for row in kept))
    manifest = {
        "software": describe_software(),
        "hardware": describe_device(where),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    for name in wanted or PARTS:
        start_s = time.perf_counter()
        try:
            for row in PARTS[name](where):
                _append(record, {"part": name, **row})
        except Exception as error:  # the other parts are worth having
            _append(
                record,
                {"part": name, "status": "failed", "reason": f"{type(error).__name__}: {error}"},
            )
        click.echo(f"{name}: {time.perf_counter() - start_s:.0f} s", err=True)


def _append(record: Path, row: dict[str, Any]) -> None:
    with record.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
