"""The Pareto picture: the first objective against each of the others, and the hypervolume by
generation."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, MaxNLocator

from clso.report.front import Floats, Front
from clso.report.reading import RunData
from clso.report.style import (
    GREY,
    OWN,
    ROUND,
    RULE,
    TEST,
    Margins,
    add_axes,
    legend_above,
    new_figure,
)

__all__ = ["draw_pareto"]

_WIDTH, _ROW = 10.5, 4.3
_COLUMNS = 2


def draw_pareto(data: RunData, front: Front) -> Figure:
    """One panel for each objective behind the first, and one for the hypervolume."""
    others = range(1, len(front.objectives))
    n_rows = math.ceil((len(others) + 1) / _COLUMNS)
    noun = "genome" if len(front.points) == 1 else "genomes"
    title = f"Pareto front: {len(front.points):,} {noun} of {len(front.everything):,} measured"
    figure, head = new_figure(_WIDTH, n_rows * _ROW, title, _notes(data, front))

    def cell(i: int) -> Axes:
        row, column = divmod(i, _COLUMNS)
        width, below = _WIDTH / _COLUMNS, (n_rows - 1 - row) * _ROW
        margins = Margins(
            column * width + 0.9,
            below + 0.75,
            _WIDTH - (column + 1) * width + 0.3,
            head + row * _ROW + 0.3,
        )
        return add_axes(figure, margins)

    for i in others:
        _panel(cell(i - 1), front, i)
    _growth(cell(len(others)), data, front)
    return figure


def _panel(axes: Axes, front: Front, column: int) -> None:
    cost, loss = front.everything[:, column], front.everything[:, 0]
    axes.scatter(cost, loss, s=14, color=GREY, alpha=0.35, lw=0, label="measured")
    points = front.points[np.argsort(front.points[:, column], kind="stable")]
    if front.points.shape[1] == 2:
        # steps go towards what is worse
        style = "steps-post" if front.directions[column] == "min" else "steps-pre"
        axes.plot(points[:, column], points[:, 0], drawstyle=style, color=OWN, lw=1.6, zorder=2)
    axes.scatter(
        points[:, column],
        points[:, 0],
        s=46,
        color=OWN,
        edgecolor="white",
        lw=0.7,
        zorder=3,
        label="front",
    )
    best = front.points[0]
    axes.scatter(
        [best[column]],
        [best[0]],
        s=150,
        facecolor="none",
        edgecolor=TEST,
        lw=1.8,
        zorder=4,
        label="least loss"
        if front.directions[0] == "min"
        else f"most {_label(front.objectives[0])}",
    )
    axes.set_xlabel(_label(front.objectives[column]))
    axes.set_ylabel(_label(front.objectives[0]))
    axes.set_xlim(*_range(cost, points[:, column], front.directions[column]))
    axes.set_ylim(*_range(loss, points[:, 0], front.directions[0]))
    axes.xaxis.set_major_locator(MaxNLocator(6, steps=ROUND))
    if float(np.abs(cost).max()) >= 1e4:
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.grid(color=RULE, lw=0.7)
    legend_above(axes, borderaxespad=0.1)


def _growth(axes: Axes, data: RunData, front: Front) -> None:
    x, y = data.generations, front.hypervolume
    axes.plot(x, y, color=OWN, lw=2, marker="o" if len(x) <= 30 else None, ms=3.5)
    axes.set_xlabel("generation")
    axes.set_ylabel("hypervolume of the front")
    axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    shown = y[np.isfinite(y)]
    if len(shown):  # none if all are too large or too small for a float
        pad = 0.06 * float(np.ptp(shown)) or max(0.05 * float(shown.max()), 0.1)
        axes.set_ylim(float(shown.min()) - pad, float(shown.max()) + pad)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=ROUND, min_n_ticks=1))
    axes.yaxis.set_major_formatter(EngFormatter(sep=" "))
    axes.grid(axis="y", color=RULE, lw=0.7)


def _range(values: Floats, front: Floats, direction: str) -> tuple[float, float]:
    """The front, and the better 95 % of the rest: a few disastrous candidates must not take the
    picture."""
    low, high = float(values.min()), float(values.max())
    if direction == "min":
        high = max(float(np.percentile(values, 95)), float(front.max()))
    else:
        low = min(float(np.percentile(values, 5)), float(front.min()))
    pad = 0.06 * (high - low) or max(abs(low) * 0.05, 0.1)
    return low - pad, high + pad


def _notes(data: RunData, front: Front) -> list[str]:
    more = [
        _label(n) for n, d in zip(front.objectives, front.directions, strict=True) if d == "max"
    ]
    better = f"More is better of {', '.join(more)}." if more else "Lower left is better."
    text = f"Every value was measured or counted; none is a prediction. {better}"
    if data.is_language:
        tokens = data.config.fitness_tokens[0]
        text += f" Losses are the search's own (fitness text, first rung, {tokens:,} tokens), not the winner's on test."
    at = ", ".join(
        f"{name} {value:.4g}" for name, value in zip(front.objectives, front.reference, strict=True)
    )
    return [
        text,
        f"Hypervolume against the reference point {at}, fixed after the first generation.",
    ]


def _label(name: str) -> str:
    units = {
        "fitness_loss": "fitness loss (nats per token)",
        "energy_j": "energy (J per candidate)",
        "n_bytes": "bytes",
    }
    return units.get(name, name.replace("_", " "))
