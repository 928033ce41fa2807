"""Genome heat map: how the population came to agree on the winner's alleles, gene by gene."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from clso.report.reading import RunData
from clso.report.style import (
    GREY,
    OWN,
    ROUND,
    RULE,
    TEST,
    Label,
    Margins,
    add_axes,
    label_right,
    new_figure,
    shorten,
)

__all__ = ["adopted", "draw_genome"]

_STRIP = 0.95  # inches of the panel above the map
_CHARACTER = 0.083  # inches of a character at 9 points
# more genes are drawn in groups: nobody reads thousands of lines, and each costs its labels
_MAX_ROWS = 200


@dataclass(frozen=True)
class _Rows:
    """What the map shows: a row is a gene, or `size` genes that follow each other.

    `held` (rows, generations) is the mean share of the population, and `best_holds` says whether
    the best genome has the winner's alleles, all of a row."""

    names: list[str]
    labels: list[str]
    held: npt.NDArray[np.float64]
    best_holds: npt.NDArray[np.bool_]
    size: int


def _rows(data: RunData) -> _Rows:
    n = len(data.alleles)
    size = 1 if n <= _MAX_ROWS else -(-n // (_MAX_ROWS // 2))
    if size == 1:
        names = [shorten(name, 26) for name in data.alleles]
        return _Rows(
            names,
            [shorten(label, 40) for label in data.alleles.values()],
            data.held,
            data.best_holds,
            1,
        )
    begins = np.arange(0, n, size)
    ends = np.minimum(begins + size, n)
    held = np.add.reduceat(data.held, begins, axis=0) / (ends - begins)[:, None]
    names = [f"genes {begin + 1:,}–{end:,}" for begin, end in zip(begins, ends, strict=True)]
    return _Rows(
        names,
        [""] * len(names),
        held,
        np.logical_and.reduceat(data.best_holds, begins, axis=0),
        size,
    )


def draw_genome(data: RunData) -> Figure:
    """Genes by generations, coloured by the share of the population that holds the winner's
    allele."""
    shown = _rows(data)
    genes, labels = shown.names, shown.labels
    row = 0.3 if len(genes) <= 24 else 0.22 if len(genes) <= 60 else 0.13
    left = 0.45 + _CHARACTER * max(len(g) for g in genes)
    right = 0.3 + _CHARACTER * max(len("winner's allele"), *(len(label) for label in labels))
    width = left + right + 6.6
    body = row * len(genes)
    chosen = "on the valid text" if data.is_language else "on the top rung"
    notes = [
        "Colour: share of the population that holds the winner's allele.",
        f"Dot: from this generation on, the best genome so far holds it. No dot: the winner, chosen {chosen}, has "
        "another allele than the search's best.",
    ]
    if shown.size > 1:
        notes.append(
            f"A row is the mean of {shown.size} genes; its dot: the best genome holds all of their alleles."
        )
    figure, head = new_figure(
        width, body + _STRIP + 2.0, "Convergence on the winner's alleles", notes
    )
    top = head + 0.15
    strip = add_axes(figure, Margins(left, body + 1.62, right, top))
    heat = add_axes(figure, Margins(left, 1.4, right, top + _STRIP + 0.4))
    _strip(strip, data)
    image = heat.imshow(
        shown.held,
        aspect="auto",
        interpolation="nearest",
        cmap="Blues",
        vmin=0,
        vmax=1,
        extent=(0.5, len(data.generations) + 0.5, len(genes) - 0.5, -0.5),
    )
    rows = np.arange(len(genes))
    starts = adopted(shown.best_holds)
    has = starts >= 0
    heat.scatter(
        data.generations[starts[has]],
        rows[has],
        s=34 if row > 0.2 else 14,
        color=TEST,
        edgecolor="white",
        lw=0.8,
        zorder=3,
    )
    size = 9 if row > 0.2 else 6.5
    heat.set_yticks(rows, genes, fontsize=size)
    heat.set_ylim(len(genes) - 0.5, -0.5)
    heat.set_xlim(0.5, len(data.generations) + 0.5)
    heat.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=ROUND, min_n_ticks=1))
    heat.set_xlabel("generation")
    heat.tick_params(length=0)
    heat.spines[:].set(visible=True, color=RULE)
    for edge in rows[1:] - 0.5:
        heat.axhline(edge, color="white", lw=1)
    for at, label in zip(rows, labels, strict=True):
        heat.annotate(
            label,
            (1, at),
            xycoords=("axes fraction", "data"),
            xytext=(6, 0),
            textcoords="offset points",
            va="center_baseline",
            fontsize=size,
            annotation_clip=False,
        )
    heat.annotate(
        "winner's allele",
        (1, 1),
        xycoords="axes fraction",
        xytext=(6, 5),
        textcoords="offset points",
        fontsize=9,
        color=GREY,
        annotation_clip=False,
    )
    total = figure.get_size_inches()[1]
    bar = figure.colorbar(
        image,
        cax=figure.add_axes((left / width, 0.62 / total, 2.6 / width, 0.13 / total)),
        orientation="horizontal",
        format=FuncFormatter(lambda value, _: f"{value:.0%}".replace("%", " %")),
    )
    bar.outline.set_edgecolor(RULE)
    bar.set_label("of the population", fontsize=9)
    bar.ax.tick_params(labelsize=9)
    return figure


def adopted(best_holds: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """Per gene, the index of the generation from which on the best genome held the winner's allele;
    -1: never.

    `best_holds` is (genes, generations).
    """
    lacks = ~best_holds
    n = best_holds.shape[1]
    last_without = np.where(lacks.any(axis=1), n - 1 - np.argmax(lacks[:, ::-1], axis=1), -1)
    return np.where(last_without == n - 1, -1, last_without + 1)


def _strip(axes: Axes, data: RunData) -> None:
    share = data.held.mean(axis=0)
    agreed = data.best_holds.mean(axis=0)
    x = data.generations
    axes.plot(x, agreed, color=TEST, lw=1.6, drawstyle="steps-mid")
    axes.plot(x, share, color=OWN, lw=1.8)
    axes.set_xlim(0.5, len(x) + 0.5)
    axes.set_ylim(0, 1.03)
    axes.set_yticks([0, 0.5, 1], ["0 %", "50 %", "100 %"], fontsize=9)
    axes.tick_params(axis="x", labelbottom=False)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=ROUND, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, lw=0.7)
    axes.set_title("mean over genes", loc="left", fontsize=9, color=GREY, pad=3)
    ends = ((float(agreed[-1]), "best so far", TEST), (float(share[-1]), "population", OWN))
    for value, _, colour in ends:
        axes.plot([x[-1]], [value], marker="o", ms=4.5, color=colour, clip_on=False)
    label_right(axes, [Label(value, text, colour) for value, text, colour in ends], size=9)
