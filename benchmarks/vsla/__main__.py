"""Measure VSLA and write a record, or the tables from records.

    python -m benchmarks.vsla --out runs/DATE_vsla-cpu                # on this machine's best device
    python -m benchmarks.vsla --out runs/DATE_vsla-h100 --part layouts --part large --minutes 6
    python -m benchmarks.vsla --claims runs/DATE_vsla-cpu             # the published figures against it
    python -m benchmarks.vsla --tables                                # docs/vsla.md anew

Several parts run in a process each, so that what breaks one part's device state, or hangs, leaves the
others alone. A part that ends early is a row that says so. Rows are written as they come, so that a
stop loses nothing.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import torch

from benchmarks.vsla import contexts, front, large, layouts, patterns, stacking, tables
from benchmarks.vsla.claims import claims_table
from benchmarks.vsla.records import ENDED, ROOT, read
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
_GRACE_S = 15.0  # after its time a part may finish its row


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the record; parts that are not measured now are kept.",
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
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    help="Most minutes of all parts together (default: as many as they take).",
)
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
    out: Path | None,
    wanted: tuple[str, ...],
    device: str,
    minutes: float | None,
    claims: Path | None,
    write_tables: bool,
) -> None:
    """Measure, judge, or write tables."""
    if claims is not None:
        click.echo(claims_table(read(claims)))
    if write_tables:
        tables.PAGE.write_text(tables.rewritten())
    if out is None:
        return
    end_s = None if minutes is None else time.monotonic() + 60 * minutes
    out.mkdir(parents=True, exist_ok=True)
    where, parts = resolve_device(device), wanted or tuple(PARTS)
    if len(parts) == 1:
        measure_part(parts[0], where, out, end_s)
        return
    for at, name in enumerate(parts):
        start_s = time.monotonic()
        # an equal share of what is left: what a part does not take is the next ones'
        share_s = None if end_s is None else max(1.0, end_s - start_s) / (len(parts) - at)
        _in_process(name, where, out, share_s)
        click.echo(f"{name}: {time.monotonic() - start_s:.0f} s", err=True)


def measure_part(name: str, device: str, out: Path, end_s: float | None) -> None:
    """Write a part's rows in place of those that the record has, until `end_s` of the monotonic
    clock."""
    record = out / "rows.jsonl"
    kept = [row for row in read(out) if row["part"] != name] if record.exists() else []
    record.write_text("".join(json.dumps(row) + "\n" for row in kept))
    manifest = {
        "software": describe_software(),
        "hardware": describe_device(device),
        "python": platform.python_version(),
        "threads": torch.get_num_threads(),
    }
    (out / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")
    try:
        for row in PARTS[name](device):
            _append(out, {"part": name, **row})
            if end_s is not None and time.monotonic() > end_s:
                _append(out, {"part": name, "status": ENDED, "reason": "its time is over"})
                return
    except Exception as error:  # what was measured is kept
        reason = f"{type(error).__name__}: {error}"
        _append(out, {"part": name, "status": ENDED, "reason": reason})


def _in_process(name: str, device: str, out: Path, share_s: float | None) -> None:
    """`measure_part` in a process of its own, which is killed if it takes much longer than its share."""
    command = [sys.executable, "-m", "benchmarks.vsla", "--part", name, "--device", device]
    command += ["--out", str(out.resolve())]
    if share_s is not None:
        command += ["--minutes", f"{max(1.0, share_s - _GRACE_S) / 60:.4f}"]
    try:
        code = subprocess.run(command, cwd=ROOT, timeout=share_s, check=False).returncode
        reason = f"its process ended with {code}" if code else ""
    except subprocess.TimeoutExpired:
        reason = f"no row came in time, and its process was killed after {share_s:.0f} s"
    if reason:
        _append(out, {"part": name, "status": ENDED, "reason": reason})


def _append(out: Path, row: dict[str, Any]) -> None:
    with (out / "rows.jsonl").open("a") as stream:
        stream.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
