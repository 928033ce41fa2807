"""Pictures of a proof: cost against loss, cost to reach a loss with all rows, power over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from clso.prove.config import MIXED
from clso.prove.evidence import Evidence
from clso.prove.verdict import cost_key, points_of
from clso.report.cost import joules, seconds
from clso.report.placing import place_labels
from clso.report.style import (
    GREY,
    RULE,
    Margins,
    add_axes,
    new_figure,
    side_colour,
    styled,
    to_png,
)

__all__ = ["draw"]

_WIDTH, _HEIGHT = 10.5, 5.4
_LINES = {"clso": "CLSO", "adamw": "AdamW, the best of the sweep", MIXED: MIXED}
_SHORT = {"clso": "CLSO", "adamw_best": "strongest AdamW", "adamw_reference": "reference AdamW"}


def draw(evidence: Evidence, verdict: dict[str, Any]) -> dict[str, bytes]:
    """PNG files by name. There is no picture of power if none was sampled."""
    with styled():
        figures = {"pareto": _pareto(evidence, verdict), "targets": _targets(evidence, verdict)}
        power = _power(evidence)
        if power is not None:
            figures["power"] = power
    return {name: to_png(figure) for name, figure in figures.items()}


def _notes(verdict: dict[str, Any], *more: str) -> list[str]:
    notes = list(more)
    if cost_key(verdict) == "time_s":
        notes.append(f"Energy was not measured, so none is claimed: {verdict['energy_reason']}")
    if not verdict["protocol_met"]:
        notes.append("Does not meet the protocol; report.md says in what.")
    return notes


def _pareto(evidence: Evidence, verdict: dict[str, Any]) -> Figure:
    key = cost_key(verdict)
    noun = "Joules" if key == "energy_j" else "Seconds"
    note = "Each point is a whole run, the mean of repeated ones. Small: shorter ones. Dotted: n-grams, on the CPU."
    figure, head = new_figure(
        _WIDTH, _HEIGHT, f"{noun} against loss on valid", _notes(verdict, note)
    )
    axes = add_axes(figure, Margins(0.95, 0.7, 0.45, head + 0.15))
    marks = [(s, verdict[s][key], verdict[s]["valid_loss"], _SHORT[s]) for s in _SHORT]
    marks += [
        (c["name"], c[key], c["valid_loss"], c["name"])
        for c in verdict["controls"]
        if c[key] and c["shared_by"] == 1
    ]
    lines = [(c["name"], c["valid_loss"]) for c in verdict["controls"] if c["shared_by"] > 1]
    curves = {
        side: sorted(points) for side, points in points_of(evidence, verdict).items() if points
    }
    costs = [cost for _, cost, _, _ in marks] + [p[0] for points in curves.values() for p in points]
    losses = (
        [loss for _, _, loss, _ in marks]
        + [loss for _, loss in lines]
        + [p[1] for points in curves.values() for p in points]
    )
    axes.set_xlim(min(costs) / 2.5, max(costs) * 2.5)
    pad = 0.1 * (max(losses) - min(losses)) or 0.1
    axes.set_ylim(min(losses) - pad, max(losses) + pad)
    _cost_axis(axes, key, "x")
    fixed = []
    for name, loss in lines:
        # then the label goes below its line
        crowded = any(0 < other - loss < pad for _, other in lines)
        axes.axhline(loss, color=side_colour(name), lw=1.0, ls=(0, (1, 1.5)))
        where = axes.get_yaxis_transform()
        fixed.append(
            axes.text(
                0.995,
                loss,
                f"{name} {loss:.3f}",
                transform=where,
                ha="right",
                va="top" if crowded else "bottom",
                fontsize=9,
            )
        )
    for side, points in curves.items():
        axes.plot(
            [p[0] for p in points],
            [p[1] for p in points],
            color=side_colour(side),
            lw=1.2,
            marker="o",
            ms=3.5,
        )
    for side, cost, loss, _ in marks:
        star, colour = side == "clso", side_colour(side)
        axes.scatter(
            [cost],
            [loss],
            marker="*" if star else "D",
            s=330 if star else 70,
            color=colour,
            alpha=0.5 if side == "adamw_reference" else 1,
            zorder=3,
        )
    axes.set_ylabel("loss on valid (nats per token)")
    axes.grid(which="major", color=RULE, lw=0.7)
    unit = joules if key == "energy_j" else seconds
    texts = [f"{name}\n{loss:.3f} at {unit(cost)}" for _, cost, loss, name in marks]
    place_labels(axes, [(m[1], m[2]) for m in marks], texts, [m[0] == "clso" for m in marks], fixed)
    return figure


def _targets(evidence: Evidence, verdict: dict[str, Any]) -> Figure:
    """For every loss, the least that reached it: a step function, which ends where nothing did; the
    controls as points."""
    key = cost_key(verdict)
    noun = "Joules" if key == "energy_j" else "Seconds"
    points = {
        side: [(loss, cost) for cost, loss, _ in rows]
        for side, rows in points_of(evidence, verdict).items()
    }
    for name, side in (("clso", "clso"), ("adamw_best", "adamw"), ("adamw_reference", "adamw")):
        points[side].append((verdict[name]["valid_loss"], verdict[name][key]))
    costly = [c for c in verdict["controls"] if c[key] and c["shared_by"] == 1]
    points[MIXED] = [(c["valid_loss"], c[key]) for c in costly if c["name"].startswith(MIXED)]
    others = [c for c in costly if not c["name"].startswith(MIXED)]
    highest = max(loss for rows in points.values() for loss, _ in rows)
    shown = [c for c in others if c["valid_loss"] < highest + 0.5]
    notes = [
        "The cheapest whole run that reached the loss or a lower one. Where a line ends, the side never got (infinite)."
    ]
    notes += [f"Not shown: {c['name']}, {c['valid_loss']:.3f}." for c in others if c not in shown]
    figure, head = new_figure(_WIDTH, _HEIGHT, f"{noun} to reach a loss", _notes(verdict, *notes))
    axes = add_axes(figure, Margins(0.95, 0.7, 0.45, head + 0.4))
    right = max([highest, *(c["valid_loss"] for c in shown)]) + 0.05
    for side, label in _LINES.items():
        if not points[side]:
            continue
        xs, ys = [right], [min(cost for _, cost in points[side])]
        for loss in sorted({loss for loss, _ in points[side]}, reverse=True):
            least = min(cost for reached, cost in points[side] if reached <= loss)
            xs.append(loss)
            ys.append(least)
        # Between two losses the run that reached the lower one is what counts.
        axes.plot(xs, ys, drawstyle="steps-pre", color=side_colour(side), lw=2, label=label)
        axes.scatter([xs[-1]], [ys[-1]], marker="|", s=200, color=side_colour(side))
    for c in shown:
        colour = side_colour(c["name"])
        axes.scatter([c["valid_loss"]], [c[key]], marker="D", s=60, color=colour, zorder=3)
    axes.invert_xaxis()
    _cost_axis(axes, key, "y")
    axes.set_xlabel("loss on valid (nats per token); better to the right")
    axes.grid(which="major", color=RULE, lw=0.7)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3, frameon=False, borderaxespad=0.1)
    unit = joules if key == "energy_j" else seconds
    texts = [f"{c['name']}\n{c['valid_loss']:.3f} at {unit(c[key])}" for c in shown]
    at = [(c["valid_loss"], c[key]) for c in shown]
    place_labels(axes, at, texts, [False] * len(shown), [])
    return figure


def _power(evidence: Evidence) -> Figure | None:
    windows = [row for row in evidence.of_type("window") if row["power_w"]]
    if not windows:
        return None
    note = (
        "Window after window; the gaps between them are left out. Dotted: idle, before and after."
    )
    figure, head = new_figure(_WIDTH, 4.2, "Power during the windows", [note])
    axes = add_axes(figure, Margins(0.95, 0.7, 0.45, head + 0.15))
    offset, seen = 0.0, set[str]()
    for row in windows:
        t, w = np.array(row["power_w"]).T
        label = None if row["arm"] in seen else _SHORT[row["arm"]]
        seen.add(row["arm"])
        alpha = 0.5 if row["arm"] == "adamw_reference" else 1
        axes.plot(t + offset, w, color=side_colour(row["arm"]), alpha=alpha, lw=1.2, label=label)
        offset += row["time_s"]
        axes.axvline(offset, color=RULE, lw=0.8)
    for row in evidence.of_type("idle"):
        if row["idle_w"] is not None:
            axes.axhline(row["idle_w"], color=GREY, lw=1.1, ls=":")
    axes.set_ylim(bottom=0)
    axes.set_xlabel("seconds of windows")
    axes.set_ylabel("watts")
    axes.grid(color=RULE, lw=0.7)
    axes.legend(loc="lower right", ncols=3, frameon=False)
    return figure


def _cost_axis(axes: Axes, key: str, which: str) -> None:
    unit = joules if key == "energy_j" else seconds
    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(LogLocator(subs=(1, 2, 5), numticks=20))
    axis.set_major_formatter(FuncFormatter(lambda value, _: unit(value)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_label_text(f"{'joules, gross' if key == 'energy_j' else 'seconds'} (log scale)")
