"""`clso runs`, `trials` and `importances`: what was recorded, as tables for people and programs."""

from __future__ import annotations

import json
from pathlib import Path

import click

from clso.cli.output import echo, write_out

__all__ = ["importances", "runs", "trials"]

_RUN = click.argument("run", type=click.Path(path_type=Path))
_AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.command(short_help="List run folders.")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs/local"))
@_AS_JSON
def runs(folder: Path, as_json: bool) -> None:
    """Runs and baselines in FOLDER (default: runs/local) and below, latest first."""
    from clso.run.listing import list_runs

    found = list_runs(folder)
    if as_json:
        return echo(json.dumps([line.to_json() for line in found]))
    from clso.cli.tables import runs_table

    runs_table(found, folder)


@click.command(short_help="A run's evaluations as a table.")
@_RUN
@click.option(
    "--csv", "kind", flag_value="csv", default="csv", help="Comma-separated values (the default)."
)
@click.option("--parquet", "kind", flag_value="parquet", help="A Parquet file; needs -o.")
@click.option("--json", "kind", flag_value="json", help="A JSON list.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="A file, not stdout.")
def trials(run: Path, kind: str, out: Path | None) -> None:
    """Every evaluation in the record of RUN, finished or not: genes by name, objectives, status,
    generation, seconds."""
    from clso.run.trials import read_trials

    if kind == "parquet" and out is None:
        raise click.UsageError("--parquet writes a file: name it with -o")
    table = read_trials(run)
    if kind == "parquet" and out is not None:
        table.write_parquet(out)
    else:
        text = table.to_csv() if kind == "csv" else table.to_json() + "\n"
        if out is None:
            return write_out(text)
        out.write_text(text, encoding="utf-8", newline="")
    echo(f"wrote {len(table.trials):,} trials to {out}", err=True)


@click.command(short_help="Which genes mattered.")
@_RUN
@click.option("--objective", help="Of which value (default: the first).")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the random forests.")
@_AS_JSON
def importances(run: Path, objective: str | None, seed: int, as_json: bool) -> None:
    """How much each gene of RUN matters to a random forest of what was measured: what shuffling
    it costs, and its own share of the variance. `clso report --html` draws it."""
    from clso.report.importances import gene_importances
    from clso.run.trials import read_trials

    found = gene_importances(read_trials(run), objective=objective, seed=seed)
    if as_json:
        return echo(json.dumps(found.to_json()))
    from clso.cli.tables import importances_table

    importances_table(found)
