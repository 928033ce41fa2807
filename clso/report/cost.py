"""Joules against loss, with the baselines; seconds, and no claim, if joules were not
measured."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from clso.report.placing import place_labels
from clso.report.reading import RunData
from clso.report.style import GREY, OWN, RULE, Margins, add_axes, new_figure, shorten, side_colour
from clso.run.entries import Entry

__all__ = ["draw_cost", "joules", "missing_energy", "no_claim", "seconds"]

_WIDTH, _HEIGHT = 10.5, 5.4
_MARKERS = ("s", "D", "^", "v", "P")


@dataclass(frozen=True)
class _Point:
    name: str
    cost: float
    score: float
    colour: str
    marker: str
    hollow: bool = False


def draw_cost(data: RunData) -> Figure:
    """Scatter on a log axis of cost; left is better."""
    entries = (data.own, *data.baselines)
    measured = missing_energy(entries) is None
    noun = "test loss" if data.is_language else data.measure
    title = f"Joules against {noun}"
    if not measured:
        anything = any(e.energy_j is not None for e in entries)
        why = "energy was not measured for all" if anything else "no energy was measured"
        title = f"Seconds against {noun}: {why}, so no claim"
    points = _points(data, measured)
    drawn = [p for p in points if p.cost > 0]
    notes = _notes(data, entries, measured)
    if len(drawn) < len(points):
        gone = ", ".join(p.name for p in points if p.cost <= 0)
        notes.append(f"Not drawn, because its cost was measured as nothing: {gone}.")
    figure, head = new_figure(_WIDTH, _HEIGHT, title, notes)
    axes = add_axes(figure, Margins(0.95, 0.7, 0.45, head + 0.15))
    axes.set_xscale("log")
    _limits(axes, drawn, data.log_vocabulary)
    unit = joules if measured else seconds
    axes.xaxis.set_major_locator(LogLocator(numticks=12))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    narrow = axes.get_xlim()[1] / axes.get_xlim()[0] < 10**3.2
    axes.xaxis.set_minor_locator(LogLocator(subs=(2, 5) if narrow else range(2, 10), numticks=99))
    axes.xaxis.set_minor_formatter(
        FuncFormatter(lambda value, _: unit(value)) if narrow else NullFormatter()
    )
    axes.tick_params(axis="x", which="minor", pad=5)  # labels of both kinds on one line
    axes.set_xlabel("joules, gross (log scale)" if measured else "seconds (log scale)")
    axes.set_ylabel(f"test {data.value_label}" if data.is_language else data.value_label)
    axes.grid(which="major", color=RULE, lw=0.7)
    arrow, y = ("↙ better", 0.02) if data.own.sign > 0 else ("↖ better", 0.95)
    fixed: list[Text] = [
        axes.text(0.012, y, arrow, transform=axes.transAxes, fontsize=10, color=GREY)
    ]
    if data.log_vocabulary is not None:
        axes.axhline(data.log_vocabulary, color=GREY, lw=1.2, ls=(0, (1, 1.5)))
        note = axes.annotate(
            f"{data.log_vocabulary:.3f}  log(vocabulary): knowing nothing",
            (1, data.log_vocabulary),
            xycoords=("axes fraction", "data"),
            xytext=(-3, 4),
            textcoords="offset points",
            ha="right",
            fontsize=9,
            color=GREY,
        )
        fixed.append(note)
    _draw(axes, drawn, unit, fixed)
    return figure


def missing_energy(entries: Sequence[Entry]) -> str | None:
    """Whose joules are missing and why, in words; None if all were measured."""
    gone = [e for e in entries if e.energy_j is None]
    if not gone:
        return None
    by_reason: dict[str, list[str]] = {}
    for e in gone:
        by_reason.setdefault(e.energy_reason or "no reason was recorded", []).append(e.name)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in by_reason.items())


def no_claim(entries: Sequence[Entry]) -> str | None:
    """Why costs of these folders say nothing about each other; None if they do."""
    for what, values in (
        ("devices", [e.device for e in entries]),
        ("sources", [e.energy_source for e in entries]),
    ):
        named = list(dict.fromkeys(v for v in values if v is not None))
        if len(named) > 1:
            return f"measured on different {what} ({', '.join(named)}): no claim"
    return None


def joules(value: float) -> str:
    """As in 12.3 kJ."""
    for factor, prefix in ((1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""), (1e-3, "m")):
        if value >= factor * 0.9995:
            return f"{_digits(value / factor)} {prefix}J"
    return f"{value:.2g} J"


def seconds(value: float) -> str:
    """As in 250 ms, 12.3 s or 1,200 s."""
    for factor, prefix in ((1.0, ""), (1e-3, "m"), (1e-6, "µ")):
        if value >= factor * 0.9995:
            return f"{_digits(value / factor)} {prefix}s"
    return f"{value:.2g} s"


def _digits(value: float) -> str:
    """Three significant digits, thousands grouped, no empty decimals."""
    if value >= 999.5:
        return f"{value:,.0f}"
    text = f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _points(data: RunData, measured: bool) -> list[_Point]:
    def cost(energy_j: float | None, time_s: float | None) -> float | None:
        return energy_j if measured else time_s

    points = []
    for i, e in enumerate((data.own, *data.baselines)):
        colour, marker = (
            (OWN, "*")
            if i == 0
            else (side_colour(e.name, i - 1), _MARKERS[(i - 1) % len(_MARKERS)])
        )
        alone = cost(e.alone_j, e.alone_s)
        best = min(e.models, key=lambda name: e.sign * e.models[name], default=None)
        name = f"{e.name}, best: {best}" if best else e.name
        if alone is not None:
            points.append(
                _Point(f"{e.name}, best setting alone", alone, e.score, colour, marker, hollow=True)
            )
            name = f"{e.name}, whole sweep"
        whole = cost(e.energy_j, e.time_s)
        # no folder lacks seconds, and joules are drawn only if all have them
        assert whole is not None
        points.append(_Point(name, whole, e.score, colour, marker))
    return points


def _draw(
    axes: Axes, points: list[_Point], unit: Callable[[float], str], fixed: Sequence[Text]
) -> None:
    for p in points:
        axes.scatter(
            [p.cost],
            [p.score],
            marker=p.marker,
            s=330 if p.marker == "*" else 80,
            facecolor="white" if p.hollow else p.colour,
            edgecolor="white" if p.marker == "*" else p.colour,
            lw=0.8 if p.marker == "*" else 1.6,
            zorder=3.5 if p.marker == "*" else 3,
            label=p.name,
        )
    for hollow in (p for p in points if p.hollow):
        whole = next(
            p
            for p in points
            if p.colour == hollow.colour and p.marker == hollow.marker and not p.hollow
        )
        axes.plot(
            [hollow.cost, whole.cost],
            [hollow.score, whole.score],
            color=hollow.colour,
            lw=1.2,
            zorder=2,
        )
    texts = [f"{shorten(p.name, 40)}\n{p.score:.3f} at {unit(p.cost)}" for p in points]
    place_labels(
        axes, [(p.cost, p.score) for p in points], texts, [p.marker == "*" for p in points], fixed
    )


def _limits(axes: Axes, points: list[_Point], log_vocabulary: float | None) -> None:
    costs = [math.log10(p.cost) for p in points] or [0.0]
    low, high = min(costs), max(costs)
    # room for labels, and more than a decade however close the costs are
    pad = max(0.25 * (high - low), 0.7)
    axes.set_xlim(10 ** (low - pad), 10 ** (high + pad))
    scores = [p.score for p in points] + ([log_vocabulary] if log_vocabulary is not None else [])
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    pad = 0.14 * (high - low) or max(abs(low) * 0.1, 0.1)
    axes.set_ylim(low - pad, high + pad)


def _notes(data: RunData, entries: Sequence[Entry], measured: bool) -> list[str]:
    notes = []
    if measured:
        phases = "library, search and validation"
        if data.is_language:
            phases += "; reading the text and the one test reading are apart"
        source = ", ".join(dict.fromkeys(str(e.energy_source) for e in entries))
        notes.append(f"Gross joules of {phases}. Source: {source}. Device: {data.own.device}.")
        apart = no_claim(entries)
    else:
        notes.append(f"Energy not measured for {missing_energy(entries)}")
        apart = no_claim([e for e in entries if e.device != data.own.device] + [data.own])
    if apart is not None:
        notes.append(apart[0].upper() + apart[1:] + ".")
    if not data.baselines:
        notes.append(f"No baseline was given: clso report {data.path} BASELINE...")
    return notes
