"""True against predicted on audits: may the surrogate be trusted to screen?"""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from clso.report.reading import RunData
from clso.report.style import GREY, OWN, ROUND, RULE, TEST, Margins, add_axes, new_figure
from clso.screening.ranks import rank_correlation

__all__ = ["draw_audits", "verdict_on"]

_WIDTH, _HEIGHT = 10.5, 5.3
# predictions further outside the true range than this many times its width are drawn at the edge
_FAR = 1.0


def draw_audits(data: RunData) -> Figure:
    """A scatter with the identity line, and how the rank correlation went by generation."""
    n = len(data.audits.pairs)
    title = f"Surrogate audits: predictions against {n:,} measured {_noun(data, n)}"
    notes = [
        "A prediction only decides which candidates are measured; it is never a result, and no result here is one.",
        verdict_on(data),
    ]
    if n == 0:
        figure, head = new_figure(_WIDTH, 1.2, "Surrogate audits: none", notes)
        figure.text(0.5, 0.6 / (head + 1.2), _why_none(data), ha="center", va="center", fontsize=12)
        return figure
    figure, head = new_figure(_WIDTH, _HEIGHT, title, notes)
    _scatter(add_axes(figure, Margins(0.9, 0.7, _WIDTH - 5.2, head + 0.45)), data)
    _history(add_axes(figure, Margins(7.25, 0.7, 0.35, head + 0.45)), data)
    return figure


def _scatter(axes: Axes, data: RunData) -> None:
    generation, predicted, true = data.audits.pairs.T
    low, high = float(true.min()), float(true.max())
    width = (high - low) or max(abs(low) * 0.1, 0.1)
    low = max(min(low, float(predicted.min())), low - _FAR * width)
    high = min(max(high, float(predicted.max())), high + _FAR * width)
    pad = 0.05 * (high - low or width)
    outside = (predicted < low) | (predicted > high)
    shown = np.clip(predicted, low, high)
    palette = LinearSegmentedColormap.from_list(
        "", matplotlib.colormaps["viridis"](np.linspace(0, 0.92, 64))
    )
    axes.plot(
        [low - pad, high + pad],
        [low - pad, high + pad],
        color=GREY,
        lw=1.2,
        ls=(0, (5, 3)),
        zorder=1,
    )
    size = 42 if len(true) <= 200 else 18
    first, last = float(data.generations[0]), float(data.generations[-1])
    points = axes.scatter(
        shown[~outside],
        true[~outside],
        c=generation[~outside],
        cmap=palette,
        vmin=first,
        vmax=max(last, first + 1),
        s=size,
        alpha=0.85,
        edgecolor="white",
        lw=0.5,
        label="audits",
    )
    if outside.any():
        for at, marker in ((low, "<"), (high, ">")):
            mask = outside & (shown == at)
            axes.scatter(
                shown[mask],
                true[mask],
                marker=marker,
                s=size + 20,
                color=TEST,
                clip_on=False,
                zorder=3,
            )
        axes.set_title(
            f"beyond the edges: {outside.sum():,} of {len(true):,}",
            loc="right",
            fontsize=9.5,
            color=TEST,
        )
    axes.text(
        high + pad,
        high + pad,
        "predicted = measured ",
        rotation=45,
        rotation_mode="anchor",
        transform_rotates_text=True,
        ha="right",
        va="bottom",
        fontsize=9,
        color=GREY,
        zorder=1,
    )
    axes.set_xlim(low - pad, high + pad)
    axes.set_ylim(low - pad, high + pad)
    unit = " (nats per token)" if data.is_language else ""
    noun = _noun(data, 1)
    axes.set_xlabel(f"predicted {noun}: a surrogate's guess, no result")
    axes.set_ylabel(f"measured {noun}{unit}")
    axes.grid(color=RULE, lw=0.7)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(7, steps=ROUND))
    figure = axes.figure  # Axes.get_figure(root=True) needs matplotlib 3.10
    assert isinstance(figure, Figure)
    box = axes.get_position()
    bar = figure.colorbar(points, cax=figure.add_axes((box.x1 + 0.012, box.y0, 0.012, box.height)))
    bar.set_label("generation")
    bar.outline.set_visible(False)
    bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, steps=ROUND, min_n_ticks=1))
    bar.solids.set_alpha(1)  # type: ignore[union-attr]


def _history(axes: Axes, data: RunData) -> None:
    audits = data.audits
    x = data.generations
    # after its last audit a surrogate that was switched off keeps its correlation
    last = int(audits.pairs[-1, 0])
    known = x <= last
    axes.plot(
        x[known],
        audits.correlation[known],
        color=OWN,
        lw=2,
        marker="o" if last <= 30 else None,
        ms=3.5,
    )
    axes.axhline(0, color=GREY, lw=0.8)
    axes.set_ylim(-1.02, 1.02)
    axes.set_xlim(x[0] - 0.5, x[-1] + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6, steps=ROUND, min_n_ticks=1))
    axes.grid(axis="y", color=RULE, lw=0.7)
    axes.fill_between(
        x,
        -1.02,
        1.02,
        where=list(audits.trusted),
        step="mid",
        color=OWN,
        alpha=0.1,
        lw=0,
        label="trusted: it screens",
    )
    if data.result["surrogate"]["audit"]["disabled"]:
        axes.axvline(last, color=TEST, lw=1.6, label=f"switched off in generation {last}")
    axes.set_xlabel("generation")
    axes.set_ylabel("rank correlation, last audits")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(
            loc="lower left", bbox_to_anchor=(0, 1), fontsize=9, frameon=False, borderaxespad=0.1
        )


def verdict_on(data: RunData) -> str:
    """Whether the surrogate was trusted, and by what."""
    surrogate = data.result["surrogate"]
    audit, name = surrogate["audit"], surrogate["name"]
    if name == "none":
        return "The run used no surrogate: every candidate was measured."
    pooled = rank_correlation([(p, t) for _, p, t in data.audits.pairs])
    figures = []
    if audit["rank_correlation"] is not None:
        figures.append(
            f"{audit['rank_correlation']:.2f} within generations (last audits; decides on trust)"
        )
    if pooled is not None:
        figures.append(f"{pooled:.2f} over all")
    ranks = (
        f"Rank correlation {', '.join(figures)}."
        if figures
        else "Too few audits for a rank correlation."
    )
    if audit["disabled"]:
        return f"Surrogate {name}: SWITCHED OFF ({audit['reason']}); from there on every candidate was measured. {ranks}"
    return f"Surrogate {name}: {'trusted' if surrogate['trusted'] else 'not (yet) trusted'} at the end. {ranks}"


def _why_none(data: RunData) -> str:
    if data.result["surrogate"]["name"] == "none":
        return "no surrogate, so nothing was predicted"
    return "the run ended before the surrogate had enough measurements to predict anything"


def _noun(data: RunData, n: int) -> str:
    if data.is_language:
        return "loss" if n == 1 else "losses"
    if data.measure == "fitness":
        return "fitness" if n == 1 else "fitnesses"
    return data.measure if n == 1 else f"values of {data.measure}"
