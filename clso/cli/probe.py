"""`clso probe`: what trained sequence models do on a task, metric by metric."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import click

from clso.cli.names import Names
from clso.cli.new_folder import claimed
from clso.cli.output import echo, only_json
from clso.errors import Stopped

__all__ = ["probe"]


@click.command(short_help="Measure what sequence models do on a task, by a framework of metrics.")
@click.argument("subjects", nargs=-1, required=True, metavar="RUN|MODEL...")
@click.option("--task", help="A name from `clso list tasks`, or FILE.py:CLASS; of a RUN its own.")
@click.option(
    "--option", "pairs", multiple=True, metavar="KEY=VALUE", help="Of the task; repeatable."
)
@click.option("--data-seed", type=int, default=0, show_default=True, help="Of the examples.")
@click.option(
    "--groups",
    type=Names(),
    metavar="GROUP,...",
    help="Groups of metrics (default: all; docs/probe.md lists them).",
)
@click.option("--seeds", type=int, default=1, show_default=True, help="Trainings of each MODEL.")
@click.option(
    "--jobs",
    type=int,
    default=1,
    show_default=True,
    help="Trainings at a time, in processes on one device; the results are the same.",
)
@click.option("--steps", type=int, default=600, show_default=True, help="Most steps of AdamW.")
@click.option(
    "--stop-after",
    type=int,
    default=3,
    show_default=True,
    help="Scorings of valid without a better one that end a training; 0: none do.",
)
@click.option("--eval-every", type=int, default=100, show_default=True, help="Steps to a scoring.")
@click.option("--batch", type=int, default=32, show_default=True, help="Sequences of a step.")
@click.option("--lr", type=float, default=3e-3, show_default=True, help="Learning rate.")
@click.option("--d-model", type=int, default=32, show_default=True, help="Width.")
@click.option("--n-layers", type=int, default=2, show_default=True)
@click.option("--n-heads", type=int, default=4, show_default=True)
@click.option(
    "--equal-parameters",
    type=int,
    metavar="N",
    help="Search each d_model so that all MODELs have about N parameters.",
)
@click.option(
    "--examples", type=int, default=64, show_default=True, help="Of test, for all but accuracy."
)
@click.option("--repeats", type=int, default=20, show_default=True, help="Least of a timing.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda or cuda:N.")
@click.option(
    "--energy", default="auto", show_default=True, help="auto, nvml, nvml-sampled, rapl or null."
)
@click.option(
    "--out", type=click.Path(path_type=Path), help="Also write a new folder: record and page."
)
@click.option("--json", "as_json", is_flag=True, help="Print the record as JSON, and nothing else.")
def probe(
    subjects: tuple[str, ...],
    pairs: tuple[str, ...],
    groups: tuple[str, ...] | None,
    out: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Measure RUNs (folders of `clso baseline sequence` or `clso evolve --task`), and MODELs (names
    from `clso list models`), which are trained on the task first, side by side.

    What could not be measured is null, with the reason. With --out, the same command goes on after an
    interruption, with the trainings that are done."""
    from clso.probe.folder import require_new
    from clso.probe.metrics import GROUPS
    from clso.probe.settings import ProbeSettings

    if out is not None:
        require_new(out)
    if options["task"] is not None and pairs:
        options["task_options"] = _task_options(options["task"], pairs)
    settings = ProbeSettings(subjects=subjects, groups=groups or GROUPS, **options)
    from clso.probe.folder import TRAINED, write_probe
    from clso.probe.run import run_probe

    with claimed(out):
        with only_json(as_json):
            try:
                found = run_probe(
                    settings,
                    lambda text: echo(f"  {text}", err=True),
                    None if out is None else out / TRAINED,
                )
            except KeyboardInterrupt:
                goes_on = "goes on with the trainings that are done" if out else "begins anew"
                raise Stopped("stopped", remedy=f"The same command {goes_on}.") from None
        record = found.to_json()
        if out is not None:
            write_probe(out, record)
            shutil.rmtree(out / TRAINED, ignore_errors=True)
    if as_json:
        echo(json.dumps(record, allow_nan=False))
        return
    from clso.cli.console import console
    from clso.probe.table import comparison_table, metrics_tables, reasons

    out_console = console()
    tables = [*metrics_tables(record), comparison_table(record)]
    if not out_console.is_terminal:  # a pipe or a file has no width to fit
        wide = out_console.options.update(width=400)
        widths = [out_console.measure(table, options=wide).maximum for table in tables]
        out_console.width = max(out_console.width, *widths)
    for table in tables:
        out_console.print(table)
    for line in reasons(record):
        out_console.print(line, style="dim", markup=False)
    if out is not None:
        echo(f"probe: {out}")


def _task_options(task: str, pairs: tuple[str, ...]) -> dict[str, Any]:
    from clso import plugins
    from clso.space.options import parse_options
    from clso.tasks.base import Task

    kind = plugins.load("tasks", task).subclass_of(Task)
    return parse_options(kind.Options, pairs, of="this task")
