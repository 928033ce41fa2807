"""`clso watch`: a run as it goes, from another terminal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from clso.cli.output import echo

if TYPE_CHECKING:
    from rich.console import RenderableType

    from clso.run.progress import Progress

__all__ = ["watch"]

_BLOCKS = "▁▂▃▄▅▆▇█"
_CURVE = 60  # generations in the curve
_ENDS = {
    "finished": "finished; see `clso report {run}`",
    "stopped": "stopped before its end, or killed; `clso resume {run}` goes on",
}


@click.command(short_help="Follow a run from another terminal.")
@click.argument("run", type=click.Path(path_type=Path))
@click.option(
    "--every", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds."
)
def watch(run: Path, every: float) -> None:
    """Show how RUN goes until it ends. Only its record is read: the run notices nothing, and Ctrl-C
    ends the watching, not the run."""
    from rich.live import Live

    from clso.cli.console import console
    from clso.run.progress import read_progress

    now = read_progress(run)
    try:
        out = console()
        with Live(_view(now), console=out, auto_refresh=False) as live:
            while now.state == "running":
                time.sleep(every)
                now = read_progress(run)
                live.update(_view(now), refresh=True)
    except KeyboardInterrupt:
        return echo("watching ended; the run goes on")
    if not out.is_terminal:
        out.line()  # a view that cannot be redrawn ends within its last line
    echo(f"{now.name}: {_ENDS[now.state].format(run=run)}")


def _view(now: Progress) -> RenderableType:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    from clso.cli.output import plain

    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim", no_wrap=True)
    table.add_column()
    bar = ProgressBar(total=max(now.generations, 1), completed=now.generation, width=40)
    table.add_row("", bar)
    for name, text in _figures(now):
        table.add_row(name, Text(plain(text)))
    return Group(Text(plain(f"{now.name}  {now.state}"), style="bold"), table)


def _figures(now: Progress) -> list[tuple[str, str]]:
    rows = [
        ("generation", f"{now.generation:,} of {now.generations:,}{_left(now)}"),
        (
            "evaluated",
            f"{now.n_evaluated:,}"
            + (f", {now.n_failed:,} failed" if now.n_failed else "")
            + (f"; {now.rate:,.1f} a second" if now.rate else ""),
        ),
    ]
    if now.best is not None:
        rows.append((f"best {now.measure}", f"{now.best:.6g}"))
        rows.append(("", _sparkline(now.curve[-_CURVE:])))
        rows.append(("genes", ", ".join(f"{k} {v}" for k, v in now.alleles.items())[:400]))
    if now.correlation is not None:
        state = "trusted" if now.trusted else "not trusted"
        rows.append(("surrogate", f"{state}, rank correlation {now.correlation:.2f}"))
    if now.joules is not None:
        rows.append(("joules", f"{now.joules:,.0f}"))
    return rows


def _left(now: Progress) -> str:
    if now.state != "running" or now.eta_s is None:
        return ""
    minutes, seconds = divmod(round(now.eta_s), 60)
    return f", about {minutes}:{seconds:02d} left"


def _sparkline(values: tuple[float, ...]) -> str:
    low, high = min(values, default=0.0), max(values, default=0.0)
    span = (high - low) or 1.0
    return "".join(_BLOCKS[round((v - low) / span * (len(_BLOCKS) - 1))] for v in values)
