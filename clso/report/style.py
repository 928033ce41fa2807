"""The look that all figures share: fonts, colours that colour-blind readers tell apart, labels that
never overlap.

Figures are `Figure` objects with sizes in inches; pyplot, and with it a display or global state, is
never touched."""

from __future__ import annotations

import io
import textwrap
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "GREY",
    "INK",
    "OWN",
    "ROUND",
    "RULE",
    "TEST",
    "Label",
    "Margins",
    "add_axes",
    "label_right",
    "legend_above",
    "new_figure",
    "shorten",
    "side_colour",
    "spread",
    "styled",
    "to_png",
]

INK, GREY, RULE = "#1a1a1a", "#595959", "#d9d9d9"
OWN = "#0072B2"
"""CLSO's colour, in every picture. All colours are from Okabe and Ito,
https://jfly.uni-koeln.de/color/."""
TEST = "#000000"
"""What stands out within a run."""
COLOURS = ("#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442")
"""What is no side that has a colour of its own, in order."""
_SIDES = {
    "AdamW and memory": "#CC79A7",
    "adamw": "#D55E00",
    "ngram": "#009E73",
    "unigram": "#009E73",
    "kn": "#009E73",
    "memory": "#009E73",
    "random-search": "#E69F00",
    "random search": "#E69F00",
    "random-crystals": "#56B4E9",
    "clso": OWN,
}
"""By the beginning of a side's name. What only counts has one colour."""
ROUND = (1, 2, 5, 10)
"""Steps between ticks."""

_STYLE: dict[Any, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 10,
    "axes.labelsize": 10.5,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.formatter.useoffset": False,
    "axes.unicode_minus": True,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "text.color": INK,
    "text.parse_math": False,  # names and paths may hold dollar signs
    "text.usetex": False,
    "figure.facecolor": "white",
    "axes.facecolor": "white",
}
_DPI = 160
# inches from the top edge to the title's baseline, and from there to the first line below it
_HEAD = 0.32


def side_colour(name: str, number: int = 0) -> str:
    """The colour that a side of a comparison has in every picture; of an unknown one the
    `number`-th of the rest."""
    if "(random)" in name:  # a run with the control's library
        name = "random-crystals"
    for begin, colour in _SIDES.items():
        if name.lower().startswith(begin.lower()):
            return colour
    return COLOURS[number % len(COLOURS)]


@dataclass(frozen=True)
class Margins:
    """Inches around axes."""

    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True)
class Label:
    """A text beside the axes, at a height in data units, with the colour of its line."""

    y: float
    text: str
    colour: str
    bold: bool = False


@contextmanager
def styled() -> Iterator[None]:
    """Draw with our settings, whatever a user's matplotlibrc says, and leave none behind."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # a name in a script that our font lacks is no fault
        warnings.filterwarnings("ignore", "Glyph .* missing")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_STYLE)
        yield


def new_figure(
    width: float, height: float, title: str, notes: Sequence[str]
) -> tuple[Figure, float]:
    """A figure of this width with a title and notes under it; `height` inches stay below them.

    Returns it with the inches that its head takes.
    """
    lines = [
        line
        for note in notes
        for line in textwrap.wrap(note, int(width * 13), max_lines=4, placeholder=" …")
    ]
    head = _HEAD + 0.2 * len(lines) + 0.18
    figure = Figure(figsize=(width, height + head))
    total = height + head
    figure.text(0.2 / width, 1 - _HEAD / total, title, fontsize=14, fontweight="bold")
    for i, line in enumerate(lines):
        figure.text(
            0.2 / width, 1 - (_HEAD + 0.24 + 0.2 * i) / total, line, fontsize=9.5, color=GREY
        )
    return figure, head


def add_axes(figure: Figure, margins: Margins) -> Axes:
    """Axes with fixed margins in inches, so that labels placed in points stay where they were
    put."""
    width, height = figure.get_size_inches()
    box = (
        margins.left / width,
        margins.bottom / height,
        1 - (margins.left + margins.right) / width,
        1 - (margins.bottom + margins.top) / height,
    )
    return figure.add_axes(box)


def legend_above(axes: Axes, **spacing: float) -> None:
    """The legend in one line above the axes, flush right; `spacing` in units of the font's size."""
    axes.legend(
        loc="lower right",
        bbox_to_anchor=(1.01, 1.0),
        ncols=3,
        frameon=False,
        fontsize=9,
        **spacing,
    )


def label_right(axes: Axes, labels: Sequence[Label], *, size: float = 9.5) -> None:
    """Write labels right of the axes, each at its height or as near as the others let it be.

    Call it when limits and scale are final.
    """
    figure = axes.figure  # Axes.get_figure(root=True) needs matplotlib 3.10
    assert isinstance(figure, Figure)
    height = axes.get_position().height * figure.get_size_inches()[1] * 72
    to_axes = axes.transData + axes.transAxes.inverted()
    wanted = [
        float(to_axes.transform((axes.get_xlim()[0], label.y))[1]) * height for label in labels
    ]
    for label, at, y in zip(labels, wanted, spread(wanted, size * 1.35, height), strict=True):
        axes.annotate(
            label.text,
            xy=(1, at / height),
            xycoords="axes fraction",
            xytext=(20, y - at),
            textcoords="offset points",
            fontsize=size,
            fontweight="bold" if label.bold else "normal",
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": label.colour,
                "lw": 1.4,
                "relpos": (0, 0.5),
                "shrinkA": 2,
                "shrinkB": 2,
            },
        )


def spread(wanted: Sequence[float], gap: float, height: float) -> list[float]:
    """Positions nearest to the wanted ones (least squares) with at least `gap` between them, inside
    0 to `height`.

    With z_i = y_(i) - i gap this is isotonic regression, solved by pooling adjacent violators.
    If they do not fit inside, they overflow evenly."""
    order = np.argsort(np.array(wanted, dtype=np.float64), kind="stable")
    pools: list[list[float]] = []  # [mean, size]
    for rank, i in enumerate(order):
        pools.append([wanted[i] - rank * gap, 1.0])
        while len(pools) > 1 and pools[-2][0] >= pools[-1][0]:
            mean, size = pools.pop()
            below = pools[-1]
            below[0] = (below[0] * below[1] + mean * size) / (below[1] + size)
            below[1] += size
    flat = np.repeat([p[0] for p in pools], [int(p[1]) for p in pools])
    free = height - gap * (len(wanted) - 1)
    flat = np.clip(flat, 0, free) if free >= 0 else np.full(len(wanted), free / 2)
    out = [0.0] * len(wanted)
    for rank, i in enumerate(order):
        out[i] = float(flat[rank] + rank * gap)
    return out


def shorten(text: str, n: int) -> str:
    """At most `n` characters on one line, with an ellipsis if something was cut."""
    text = " ".join(text.split())
    return text if len(text) <= n else text[: n - 1].rstrip() + "…"


def to_png(figure: Figure) -> bytes:
    """The figure as a PNG file."""
    buffer = io.BytesIO()
    with styled():
        figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": "clso"})
    return buffer.getvalue()
