"""The interactive plots of a run's page, as figures of plotly.js in JSON.

Text of a record may hold what plotly takes for markup, so all of it goes through `label`. Colours
that begin with `--` are variables of the page's style: light or dark, as the reader has it."""

from __future__ import annotations

from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.report.cost import missing_energy
from clso.report.front import Front
from clso.report.importances import Importances
from clso.report.loss import reference_lines
from clso.report.reading import RunData
from clso.report.style import COLOURS, GREY, shorten, side_colour
from clso.report.style import OWN as CLSO
from clso.report.traced import States
from clso.screening.config import ScreeningConfig
from clso.space.trials import OFF, Trials

__all__ = ["Plot", "label", "plots_of", "slices_of"]

Plot = dict[str, Any]
Floats = npt.NDArray[np.float64]

INK, MUTED, SOFT = "--ink", "--muted", "--own"
_WIDEST = 2.0  # of the middle 80 % of values, how far beyond them an axis goes
_MOST_GENES = 40  # in a plot with a line or a column for each
_MOST_TRIALS = 600  # drawn one by one
_MOST_SLICES = 24
NOTICE = "#CC79A7"  # what a reader should notice
_BELOW = -0.1  # the place of a gene that is off, on an axis of alleles from 0 to 1
_BINS = 8  # colours of parallel coordinates
_FROM_WORST = (*(f"--blue{i}" for i in range(6)), "#E69F00", "#D55E00")


def label(text: object, n: int = 40) -> str:
    """Text as plotly shows it: nothing in it is markup, and it is on one line."""
    return escape(shorten(str(text), n), quote=False)


def robust_range(values: Floats) -> tuple[float, float]:
    """Where an axis begins and ends so that a few outliers do not squash the rest."""
    low, high = np.percentile(values, (10, 90))
    width = float(high - low) or float(np.ptp(values)) or abs(float(low)) * 0.1 or 1.0
    least = max(float(values.min()), float(low) - _WIDEST * width)
    most = min(float(values.max()), float(high) + _WIDEST * width)
    pad = 0.06 * ((most - least) or width)
    return least - pad, most + pad


def plots_of(data: RunData, trials: Trials, found: Importances | None) -> dict[str, Plot]:
    """The page's plots by name, in reading order."""
    plots = {"loss": _loss(data)}
    if found is not None:
        plots["importances"] = _importances(found)
    if len(trials.trials) > 1:
        plots["parallel"] = _parallel(data, trials, found)
    if len(data.audits.pairs):
        plots["audits"] = _audits(data)
        plots["trust"] = _trust(data)
    plots["energy"] = _cost(data)
    if data.front is not None:
        for column in range(1, len(data.front.objectives)):
            plots[f"front-{column}"] = _front(data.front, column)
        plots["hypervolume"] = _hypervolume(data, data.front)
    plots["genome"] = _genome(data)
    if data.states is not None:
        plots["states"], plots["states-change"] = _states(data.states)
    return plots


def _figure(traces: list[Plot], **layout: Any) -> Plot:
    return {"data": traces, "layout": layout}


def _value(data: RunData) -> str:
    return label(data.value_label, 60)


def _loss(data: RunData) -> Plot:
    x = data.generations.astype(int).tolist()
    low, median, high = (np.asarray(part) for part in data.spread)
    fill = {"x": x, "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    traces: list[Plot] = [
        {**fill, "y": low.tolist(), "showlegend": False},
        {
            **fill,
            "y": high.tolist(),
            "fill": "tonexty",
            "fillcolor": "rgba(0,114,178,.18)",
            "name": "population, 10–90 %",
        },
        _line(x, median, "population, median", SOFT, dash="dash", width=1.5),
        _line(x, data.best, "best so far", SOFT, width=3, shape="hv"),
    ]
    for reference in reference_lines(data):
        colour = {GREY: MUTED, CLSO: SOFT}.get(reference.colour, reference.colour)
        name = label(reference.text.split("  ", 1)[-1])
        ends = [x[0], max(x[-1], x[0] + 1)]
        traces.append(
            {
                **_line(ends, np.full(2, reference.y), f"{name}: {reference.y:.4g}", colour),
                "mode": "lines",
                "line": {"color": colour, "dash": "dot", "width": 2},
            }
        )
    worse = high if data.own.sign > 0 else low
    near = np.concatenate([data.best, median, [data.own.score], worse])
    return _figure(
        traces,
        xaxis={"title": {"text": "generation"}},
        yaxis={"title": {"text": _value(data)}, "range": robust_range(near)},
    )


def _line(
    x: list[Any],
    y: Any,
    name: str,
    colour: str,
    *,
    dash: str = "solid",
    width: float = 2,
    shape: str = "linear",
) -> Plot:
    return {
        "x": x,
        "y": [None if np.isnan(v) else float(v) for v in y],
        "name": name,
        "mode": "lines+markers" if len(x) == 1 else "lines",
        "line": {"color": colour, "dash": dash, "width": width, "shape": shape},
    }


def _importances(found: Importances) -> Plot:
    rows = found.rows()[:_MOST_GENES][::-1]
    genes = [label(row["gene"], 24) for row in rows]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "y": list(range(len(rows))),
            "x": [row[kind] for row in rows],
            "customdata": genes,
            "hovertemplate": "%{customdata}: %{x:.3f}",
            "name": name,
            "marker": {"color": colour},
        }
        for kind, name, colour in (
            ("variance", "share of variance alone", COLOURS[3]),
            ("permutation", "lost when shuffled", CLSO),
        )
    ]
    return _figure(
        bars,
        height=max(280, 26 * len(rows) + 120),
        xaxis={"title": {"text": f"importance for ranks of {label(found.objective)}"}},
        yaxis={"tickvals": list(range(len(rows))), "ticktext": genes},
        legend={"traceorder": "reversed"},
    )


def _parallel(data: RunData, trials: Trials, found: Importances | None) -> Plot:
    """Lines of one colour are one trace: the worst first, so that the best lie on top."""
    n_genes = len(trials.genes)
    order = found.order if found is not None else list(range(n_genes))
    shown = sorted(order[:_MOST_GENES])
    measured = [
        t.evaluation for t in trials.trials if t.evaluation.ok and not t.evaluation.fidelity
    ]
    measured = sorted(measured, key=trials.badness, reverse=True)
    if len(measured) > _MOST_TRIALS:  # all of the best, and evenly the rest
        keep = np.unique(
            np.concatenate(
                [
                    np.linspace(0, len(measured) - 1, _MOST_TRIALS // 2),
                    np.arange(-_MOST_TRIALS // 2, 0),
                ]
            ).astype(int)
            % len(measured)
        )
        measured = [measured[i] for i in keep]
    sizes = _sizes(trials)
    traces = []
    for i, part in enumerate(np.array_split(np.arange(len(measured)), min(_BINS, len(measured)))):
        x: list[Any] = []
        y: list[Any] = []
        text: list[Any] = []
        for at in part:
            e = measured[at]
            labels = trials.labels(e.genome)
            x += [*range(len(shown)), None]
            y += [
                _BELOW if labels[g] is None else e.genome[g] / max(sizes[g] - 1, 1) for g in shown
            ]
            y.append(None)
            said = [OFF if found is None else found for found in labels]
            text += [f"{label(said[g], 24)}; {e.value:.5g}" for g in shown] + [""]
        values = [measured[at].value for at in part]
        best = i >= _BINS - 2
        traces.append(
            {
                "x": x,
                "y": y,
                "text": text,
                "hovertemplate": "%{text}<extra></extra>",
                "mode": "lines",
                "line": {
                    "color": _FROM_WORST[i + _BINS - min(_BINS, len(measured))],
                    "width": 2 if best else 1,
                },
                "opacity": 0.9 if best else 0.55,
                "name": f"{values[-1]:.4g} to {values[0]:.4g}",  # the better end first
            }
        )
    return _figure(
        traces,
        height=460,
        xaxis={
            "tickvals": list(range(len(shown))),
            "ticktext": [label(trials.genes[g].name, 18) for g in shown],
            "tickangle": -45,
            "range": [-0.3, len(shown) - 0.7],
        },
        yaxis={"title": {"text": "allele, first to last"}, "tickvals": []},
    )


def _sizes(trials: Trials) -> list[int]:
    top = np.max([t.evaluation.genome for t in trials.trials], axis=0) + 1
    return [max(len(g), int(n)) for g, n in zip(trials.genes, top, strict=True)]


def _audits(data: RunData) -> Plot:
    generation, predicted, true = data.audits.pairs.T
    span = robust_range(np.concatenate([true, predicted]))
    inside = (np.abs(predicted - np.mean(span)) <= np.ptp(span) / 2) & (
        np.abs(true - np.mean(span)) <= np.ptp(span) / 2
    )
    beyond = int((~inside).sum())
    points = {
        "x": np.clip(predicted, *span).tolist(),
        "y": np.clip(true, *span).tolist(),
        "customdata": np.stack([generation, predicted, true], axis=1).tolist(),
        "hovertemplate": "generation %{customdata[0]}<br>predicted %{customdata[1]:.5g}<br>"
        "measured %{customdata[2]:.5g}<extra></extra>",
        "mode": "markers",
        "name": "audits",
        "marker": {
            "color": generation.tolist(),
            "colorscale": "Viridis",
            "size": 8,
            "symbol": ["circle" if ok else "x" for ok in inside],
            "colorbar": {"title": {"text": "generation"}, "thickness": 12, "outlinewidth": 0},
        },
    }
    identity = _line(list(span), np.array(span), "predicted = measured", MUTED, dash="dash")
    return _figure(
        [identity, points],
        showlegend=False,
        xaxis={"title": {"text": "predicted: a guess, no result"}, "range": span},
        yaxis={"title": {"text": f"measured {_value(data)}"}, "range": span},
        annotations=[_note(f"beyond the edges, drawn as ×: {beyond:,} of {len(true):,}")]
        if beyond
        else [],
    )


def _note(text: str) -> Plot:
    return {
        "text": text,
        "xref": "paper",
        "yref": "paper",
        "x": 0,
        "y": 1.06,
        "showarrow": False,
        "xanchor": "left",
        "font": {"color": NOTICE, "size": 12},
    }


def _trust(data: RunData) -> Plot:
    x = data.generations.astype(int).tolist()
    threshold = ScreeningConfig().trust_threshold
    trusted = [1.0 if t else None for t in data.audits.trusted]
    return _figure(
        [
            {
                "type": "bar",
                "x": x,
                "y": [None if t is None else 2 for t in trusted],
                "base": -1,
                "width": 1,
                "marker": {"color": "rgba(0,114,178,.14)"},
                "name": "trusted: it screens",
                "hoverinfo": "skip",
            },
            _line(x, data.audits.correlation, "rank correlation", SOFT, width=3),
            {
                **_line([x[0] - 0.5, x[-1] + 0.5], np.full(2, threshold), "", NOTICE, dash="dash"),
                "name": f"{threshold:g}: below it screening is switched off",
            },
        ],
        bargap=0,
        xaxis={"title": {"text": "generation"}},
        yaxis={"title": {"text": "rank correlation, last audits"}, "range": [-1.05, 1.05]},
    )


def _cost(data: RunData) -> Plot:
    entries = (data.own, *data.baselines)
    measured = missing_energy(entries) is None
    colours = [CLSO, *(side_colour(e.name, i) for i, e in enumerate(data.baselines))]
    traces: list[Plot] = []
    for entry, colour in zip(entries, colours, strict=True):
        cost = entry.energy_j if measured else entry.time_s
        if cost is None or cost <= 0:
            continue
        traces.append(
            {
                "x": [cost],
                "y": [entry.score],
                "name": label(entry.name),
                "mode": "markers+text",
                "text": [label(entry.name, 28)],
                "textposition": "top center",
                "hovertemplate": "%{x:.4s}, %{y:.4g}<extra>" + label(entry.name) + "</extra>",
                "cliponaxis": False,
                "marker": {
                    "size": 18 if entry is data.own else 12,
                    "symbol": "star" if entry is data.own else "circle",
                    "color": colour,
                },
            }
        )
    scores = np.array([e.score for e in entries])
    pad = 0.15 * float(np.ptp(scores)) or abs(float(scores[0])) * 0.05 or 1.0
    costs = np.log10([t["x"][0] for t in traces]) if traces else np.zeros(1)
    return _figure(
        traces,
        showlegend=False,
        xaxis={
            "type": "log",
            "title": {"text": "joules, gross" if measured else "seconds: joules were not measured"},
            "tickformat": "~s",
            "dtick": "D2" if np.ptp(costs) < 1.5 else 1,
            "range": [float(costs.min()) - 0.5, float(costs.max()) + 0.5],
        },
        yaxis={
            "title": {"text": f"test {_value(data)}" if data.is_language else _value(data)},
            "range": [float(scores.min()) - pad, float(scores.max()) + pad],
        },
    )


def _front(front: Front, column: int) -> Plot:
    titles = [
        label(f"{name.replace('_', ' ')} ({'more' if d == 'max' else 'less'} is better)", 60)
        for name, d in zip(front.objectives, front.directions, strict=True)
    ]
    # steps go towards what is worse of the one on the x axis
    steps = "hv" if front.directions[column] == "min" else "vh"
    order = np.argsort(front.points[:, column])
    x, y = front.points[order, column], front.points[order, 0]
    return _figure(
        [
            {
                "x": front.everything[:, column].tolist(),
                "y": front.everything[:, 0].tolist(),
                "mode": "markers",
                "name": "measured",
                "marker": {"color": MUTED, "size": 5, "opacity": 0.5},
            },
            {
                "x": x.tolist(),
                "y": y.tolist(),
                "mode": "lines+markers" if len(titles) == 2 else "markers",
                "line": {"shape": steps, "width": 1.5, "color": SOFT},
                "name": "front",
                "marker": {"color": SOFT, "size": 10},
            },
        ],
        xaxis={
            "title": {"text": titles[column]},
            "range": robust_range(np.concatenate([front.everything[:, column], x, x])),
            "tickformat": "~s",
        },
        yaxis={
            "title": {"text": titles[0]},
            "range": robust_range(np.concatenate([front.everything[:, 0], y, y])),
        },
    )


def _hypervolume(data: RunData, front: Front) -> Plot:
    x = data.generations.astype(int).tolist()
    return _figure(
        [_line(x, front.hypervolume, "hypervolume", SOFT, width=3)],
        showlegend=False,
        xaxis={"title": {"text": "generation"}},
        yaxis={"title": {"text": "hypervolume of the front"}},
    )


def _genome(data: RunData) -> Plot:
    names = list(data.alleles)
    shown = list(range(len(names)))
    if len(shown) > 4 * _MOST_GENES:
        shown = np.linspace(0, len(names) - 1, 4 * _MOST_GENES).astype(int).tolist()
    return _figure(
        [
            {
                "type": "heatmap",
                "x": data.generations.astype(int).tolist(),
                "y": list(range(len(shown))),
                "z": np.round(data.held[shown], 4).tolist(),
                "customdata": [[label(names[g], 24)] * len(data.generations) for g in shown],
                "hovertemplate": "%{customdata}, generation %{x}: %{z:.0%}<extra></extra>",
                "zmin": 0,
                "zmax": 1,
                "colorscale": "Viridis",
                "colorbar": {"tickformat": ".0%", "thickness": 12, "outlinewidth": 0},
            }
        ],
        height=max(280, min(16 * len(shown), 900) + 120),
        xaxis={"title": {"text": "generation"}},
        yaxis={
            "autorange": "reversed",
            "tickvals": list(range(len(shown))) if len(shown) <= 2 * _MOST_GENES else [],
            "ticktext": [label(names[g], 24) for g in shown],
        },
    )


def _states(states: States) -> tuple[Plot, Plot]:
    colours = (CLSO, *COLOURS)
    bars, lines = [], []
    for i, (share, change) in enumerate(zip(states.utilisation, states.change, strict=True)):
        colour = colours[i % len(colours)]
        x = list(range(len(share)))
        bars.append(
            {
                "type": "bar",
                "x": x,
                "y": share.tolist(),
                "name": f"layer {i}",
                "marker": {"color": colour},
            }
        )
        lines.append(_line(list(range(1, len(change) + 1)), change, f"layer {i}", colour))
    return (
        _figure(
            bars,
            xaxis={"title": {"text": "state"}},
            yaxis={"title": {"text": "share of routed weight"}},
        ),
        _figure(
            lines,
            xaxis={"title": {"text": "chunk of the text"}},
            yaxis={"title": {"text": "change over the chunk / size"}, "rangemode": "tozero"},
        ),
    )


def slices_of(trials: Trials, found: Importances | None) -> list[tuple[str, Plot]]:
    """The values by allele of each gene, the most important genes first: (name, plot)."""
    measured = [t for t in trials.trials if t.evaluation.ok and not t.evaluation.fidelity]
    if len(measured) < 2:
        return []
    every = np.array([t.evaluation.value for t in measured])
    genomes = np.array([t.evaluation.genome for t in measured])
    span = robust_range(every)
    order = found.order if found is not None else list(range(len(trials.genes)))
    if len(measured) > _MOST_TRIALS:
        keep = np.linspace(0, len(measured) - 1, _MOST_TRIALS).astype(int)
        every, genomes = every[keep], genomes[keep]
    beside = (np.arange(len(every)) * 0.618034) % 1 - 0.5  # beside each other, the same each time
    inactive = [set(trials.inactive(tuple(genome))) for genome in genomes.tolist()]
    sizes = _sizes(trials)
    out = []
    for g in order[:_MOST_SLICES]:
        gene = trials.genes[g]
        counts = np.array([gene.name not in off for off in inactive])
        alleles, values, spread = genomes[counts, g], every[counts], beside[counts]
        there = np.unique(alleles)
        labels = [label(gene.choices[a] if gene.choices else a, 14) for a in there]
        plot = _figure(
            [
                {
                    "x": (alleles + 0.5 * spread).round(3).tolist(),
                    "y": np.clip(values, *span).tolist(),
                    "mode": "markers",
                    "hoverinfo": "y",
                    "marker": {"color": SOFT, "size": 5, "opacity": 0.5},
                },
                {
                    "x": there.tolist(),
                    "y": np.clip([np.median(values[alleles == a]) for a in there], *span).tolist(),
                    "mode": "markers",
                    "hovertemplate": "median %{y:.5g}<extra></extra>",
                    "marker": {
                        "color": INK,
                        "symbol": "line-ew-open",
                        "size": 16,
                        "line": {"width": 3},
                    },
                },
            ],
            height=260,
            showlegend=False,
            xaxis={
                "tickvals": there.tolist() if len(there) <= 16 else None,
                "ticktext": labels if len(there) <= 16 else None,
                "range": [-0.6, sizes[g] - 0.4],
            },
            yaxis={"range": span},
        )
        out.append((gene.name, plot))
    return out
