"""From a run folder to PNG files and, if asked, one HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from clso.errors import RunFolderError
from clso.report.reading import RunData, read_run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_figures", "draw_report"]


def draw_report(run: Path, baselines: list[Path], html: Path | None) -> list[Path]:
    """Draw the pictures of `run` into `run/report`, with `baselines` beside it; return the PNG
    files.

    Each figure is a file of its own: loss.png, audits.png, energy.png, genome.png and, for several
    objectives, pareto.png; for a winner with states, states.png. `html` names a page to write as
    well, whole in one file. Raises `RunFolderError` if a folder is unfinished, damaged or
    foreign, if a baseline is over another text, or if `html` is a folder."""
    if html is not None and html.is_dir():
        raise RunFolderError("the page is a file", got=str(html), remedy="Give --html a file name.")
    data = read_run(run, baselines)
    from clso.report.style import to_png

    pictures = {name: to_png(figure) for name, figure in draw_figures(data).items()}
    folder = run / "report"
    folder.mkdir(exist_ok=True)
    paths = []
    for name, png in pictures.items():
        paths.append(folder / f"{name}.png")
        paths[-1].write_bytes(png)
    if html is not None:
        from clso.report.page import write_page

        html.parent.mkdir(parents=True, exist_ok=True)
        html.write_text(write_page(data), encoding="utf-8", errors="backslashreplace")
    return paths


def draw_figures(data: RunData) -> Mapping[str, Figure]:
    """The figures by name, in reading order. matplotlib is imported here, not with the command
    line."""
    from clso.report.audits import draw_audits
    from clso.report.cost import draw_cost
    from clso.report.genome import draw_genome
    from clso.report.loss import draw_loss
    from clso.report.pareto import draw_pareto
    from clso.report.states import draw_states
    from clso.report.style import styled

    with styled():
        figures = {
            "loss": draw_loss(data),
            "audits": draw_audits(data),
            "energy": draw_cost(data),
            "genome": draw_genome(data),
        }
        if data.front is not None:
            figures["pareto"] = draw_pareto(data, data.front)
        if data.states is not None:
            figures["states"] = draw_states(data.states)
        return figures
