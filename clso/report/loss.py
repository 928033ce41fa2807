"""Loss by generation: the best so far, the population around it, and what a reader should hold it
against."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clso.report.reading import RunData
from clso.report.style import (
    GREY,
    OWN,
    ROUND,
    RULE,
    Label,
    Margins,
    add_axes,
    label_right,
    legend_above,
    new_figure,
    shorten,
    side_colour,
)

__all__ = ["draw_loss", "reference_lines"]

_WIDTH, _RIGHT, _MAX_LABEL = 10.5, 2.75, 27
# references this many times as far apart as the search's own values get a panel of their own
_TWO_PANELS = 2.5
_SHOWN = 0.75  # of the generations have their whole band in the picture, at least
_LOG_FROM = 30.0  # values further apart than this factor are drawn on a log axis


def draw_loss(data: RunData) -> Figure:
    """One panel, or two if references lie so far away that the search would be a flat line."""
    references = reference_lines(data)
    # A restart draws candidates anew, and for a generation the worst of them would take all of the
    # picture.
    low, median, high = data.spread
    if data.own.sign > 0:
        worst = max(data.best.max(), median.max(), np.quantile(high, _SHOWN))
        own = (float(data.best.min()), float(worst))
    else:
        worst = min(data.best.min(), median.min(), np.quantile(low, 1 - _SHOWN))
        own = (float(worst), float(data.best.max()))
    span = own[1] - own[0] or 1.0
    near = [r for r in references if own[0] - 0.6 * span <= r.y <= own[1] + 0.6 * span]
    zoom = _range(own, near)
    full = _range(own, references)
    split = len(near) < len(references) and full[1] - full[0] > _TWO_PANELS * (zoom[1] - zoom[0])
    figure, head = new_figure(_WIDTH, 7.6 if split else 5.0, _title(data), _notes(data))
    if not split:
        axes = add_axes(figure, Margins(0.95, 0.65, _RIGHT, head + 0.35))
        _panel(axes, data, references, full)
        axes.set_xlabel("generation")
        return figure
    top = add_axes(figure, Margins(0.95, 4.35, _RIGHT, head + 0.35))
    bottom = add_axes(figure, Margins(0.95, 0.65, _RIGHT, head + 4.1))
    _panel(top, data, near, zoom)
    _panel(bottom, data, references, full, whole=True)
    top.set_title("the search, closer", loc="left", fontsize=10.5, color=GREY)
    bottom.set_title("against every reference", loc="left", fontsize=10.5, color=GREY)
    bottom.set_xlabel("generation")
    return figure


def reference_lines(data: RunData) -> list[Label]:
    """Horizontal lines: knowing nothing, or the optimum; the winner re-measured, and each
    baseline's models."""
    lines = []
    if data.log_vocabulary is not None:
        lines.append(
            Label(data.log_vocabulary, f"{data.log_vocabulary:.3f}  log(vocabulary)", GREY)
        )
    if data.optimum is not None:
        lines.append(Label(data.optimum, f"{_number(data.optimum)}  optimum", GREY))
    kind = "winner, test text" if data.is_language else "winner, top rung"
    lines.append(Label(data.own.score, f"{_number(data.own.score)}  {kind}", OWN, bold=True))
    for i, entry in enumerate(data.baselines):
        models = {f"{entry.name} {name}": score for name, score in entry.models.items()} or {
            entry.name: entry.score
        }
        for name, score in models.items():
            text = f"{_number(score)}  {shorten(name, _MAX_LABEL)}"
            lines.append(Label(score, text, side_colour(entry.name, i)))
    return lines


def _panel(
    axes: Axes,
    data: RunData,
    references: list[Label],
    limits: tuple[float, float],
    *,
    whole: bool = False,
) -> None:
    n = len(data.generations)
    x, best, spread = data.generations, data.best, data.spread
    if n == 1:  # a point is drawn as wide as the axes
        x, best, spread = np.array([0.5, 1.5]), np.repeat(best, 2), np.repeat(spread, 2, axis=1)
    low, median, high = spread
    marker = "o" if 1 < n <= 30 else None
    axes.fill_between(x, low, high, color=OWN, alpha=0.16, lw=0, label="population, 10–90 %")
    axes.plot(x, median, color=OWN, lw=1.3, ls=(0, (4, 2)), label="population, median")
    axes.plot(
        x,
        best,
        color=OWN,
        lw=2.4,
        drawstyle="steps-post",
        marker=marker,
        ms=3.5,
        clip_on=False,
        label="best so far",
    )
    for r in references:
        axes.axhline(r.y, color=r.colour, lw=1.3, ls=(0, (1, 1.5)), zorder=1.5)
    positive = limits[0] > 0 and limits[1] / limits[0] > _LOG_FROM
    if positive:
        axes.set_yscale("log")
    axes.set_ylim(*limits)
    axes.set_xlim(x[0], x[-1])
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=10, steps=ROUND, min_n_ticks=1))
    axes.set_ylabel(data.value_label)
    axes.grid(axis="y", color=RULE, lw=0.7)
    labels = [
        Label(
            float(data.best[-1]), f"{_number(float(data.best[-1]))}  best so far", OWN, bold=True
        ),
        *references,
    ]
    if not whole:
        labels.append(
            Label(float(median[-1]), f"{_number(float(median[-1]))}  population, median", OWN)
        )
    label_right(axes, labels)
    if not whole:
        legend_above(axes, borderaxespad=0.2, columnspacing=1.4)


def _range(own: tuple[float, float], references: list[Label]) -> tuple[float, float]:
    low, high = (
        min(own[0], *(r.y for r in references), own[0]),
        max(own[1], *(r.y for r in references), own[1]),
    )
    if low > 0 and high / low > _LOG_FROM:
        return low / 1.3, high * 1.3
    pad = 0.06 * (high - low) or max(abs(low) * 0.05, 0.1)
    return low - pad, high + pad


def _title(data: RunData) -> str:
    noun = data.measure.capitalize()
    n = len(data.generations)
    generations = f"{n} generation{'s' if n > 1 else ''}"
    return (
        f"{noun} by generation: {data.config.space}, {generations} of {data.config.pop} candidates"
    )


def _notes(data: RunData) -> list[str]:
    if not data.is_language:
        return [
            "Best so far, median and band were measured on the first rung. Every value was measured."
        ]
    tokens = data.config.fitness_tokens[0]
    return [
        f"Best so far, median and band: the search's own text (fitness, first rung, {tokens:,} tokens). Winner and "
        f"baselines: the test text, which no selection saw. Every loss was measured; none is a prediction. The band of a "
        f"generation that began anew may leave the picture."
    ]


def _number(value: float) -> str:
    return f"{value:.3f}" if 1e-2 <= abs(value) < 1e4 or value == 0 else f"{value:.3g}"
