"""Tables of `clso runs` and `clso importances`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from clso.cli.console import console

if TYPE_CHECKING:
    from clso.report.importances import Importances
    from clso.run.listing import Line

__all__ = ["importances_table", "runs_table"]

_BAR = 20


def runs_table(lines: Sequence[Line], folder: Path) -> None:
    """A line a run."""
    out = console()
    if not lines:
        return out.print(f"no runs in {folder}", soft_wrap=True)
    table = Table("run", "space", "state", box=None, pad_edge=False)
    for name in ("best", "evaluations", "joules"):
        table.add_column(name, justify="right")
    table.add_column("written, UTC", no_wrap=True)
    for line in lines:
        best = "" if line.best is None else f"{line.best:.6g}"
        table.add_row(
            line.name,
            Path(line.space).name,
            line.state,
            f"{line.measure.replace('_', ' ')} {best}" if line.measure and best else "",
            "" if line.evaluations is None else f"{line.evaluations:,}",
            "" if line.energy_j is None else f"{line.energy_j:,.1f}",
            line.date,
        )
    out.print(table)


def importances_table(found: Importances) -> None:
    """Most important first, with bars."""
    table = Table("gene", box=None, pad_edge=False)
    for name in ("permutation", "variance"):
        table.add_column(name, justify="right")
    table.add_column("")
    rows = found.rows()
    top = max(*(row["permutation"] for row in rows), 1e-12)
    for row in rows:
        bar = "█" * round(_BAR * max(row["permutation"], 0) / top)
        table.add_row(row["gene"], f"{row['permutation']:.3f}", f"{row['variance']:.3f}", bar)
    out = console()
    out.print(table)
    out.print(
        f"Of ranks of {found.objective}, {found.n_trials:,} trials, seed {found.seed}. Random forests "
        f"explain {found.r2:.0%} of the variance of trials that they have not seen"
        + (": read importances with care." if found.r2 < 0.3 else "."),
        soft_wrap=True,
    )
