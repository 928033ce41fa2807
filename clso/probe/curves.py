"""The curves behind a probe's figures, as plots of plotly.js: a line a model."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from clso.report.plots import Plot, label
from clso.report.style import COLOURS

__all__ = ["PLOTS", "curves_of"]

_COLOURS = ("--own", "--ink", *COLOURS, "#D55E00", "--muted")
_DASHES = ("solid", "dash", "dot")

Record = Mapping[str, Any]
Points = Callable[[Record], Sequence[tuple[float, float]]]
"""Of a metric's detail."""


def _pairs(detail: Record) -> list[tuple[float, float]]:
    return [(x, y) for x, y in detail["points"]]


def _keys(x: str, y: str = "accuracy") -> Points:
    return lambda detail: [(point[x], point[y]) for point in detail["points"]]


# name, group, metric, points, title of x, title of y, whether both axes are logarithmic
PLOTS: tuple[tuple[str, str, str, Points, str, str, bool], ...] = (
    ("length", "scaling", "time_by_length", _pairs, "tokens", "s, forward and backward", True),
    ("memory", "scaling", "memory_by_length", _pairs, "tokens", "bytes at the peak", True),
    (
        *("longer", "robustness", "degradation_slope", _keys("mean_length")),
        *("mean tokens of test sequences, of one to four times the length", "accuracy", False),
    ),
    (
        *("drop", "robustness", "noise_drop", _keys("rate")),
        *("share of tokens dropped", "accuracy", False),
    ),
    (
        *("swap", "robustness", "noise_swap", _keys("rate")),
        *("share of tokens swapped", "accuracy", False),
    ),
    (
        *("replace", "robustness", "noise_replace", _keys("rate")),
        *("share of tokens replaced", "accuracy", False),
    ),
    (
        *("flips", "robustness", "adversarial", _keys("flips")),
        *("flips by an adversary", "accuracy", False),
    ),
    (
        *("rates", "sensitivity", "lr_sensitivity", _keys("lr")),
        *("learning rate", "accuracy on valid", False),
    ),
    (
        *("allocated", "states", "states_allocated", _pairs),
        *("share of the sequence", "states allocated", False),
    ),
)


def curves_of(models: Sequence[Record]) -> dict[str, Plot]:
    """The plots by name, of the models that have such points; others are left out."""
    plots: dict[str, Plot] = {}
    for name, _, metric, points, x_title, y_title, is_log in PLOTS:
        traces = []
        for i, model in enumerate(models):
            detail = model["metrics"].get(metric, {}).get("detail", {})
            if not detail.get("points"):
                continue
            x, y = zip(*points(detail), strict=True)
            traces.append(
                {
                    "x": list(x),
                    "y": list(y),
                    "name": label(model["name"]),
                    "mode": "lines+markers",
                    "line": {
                        "color": _COLOURS[i % len(_COLOURS)],
                        "dash": _DASHES[i // len(_COLOURS) % len(_DASHES)],
                        "width": 2,
                    },
                }
            )
        if traces:
            kind = {"type": "log"} if is_log or name == "rates" else {}
            plots[name] = {
                "data": traces,
                "layout": {
                    "xaxis": {"title": {"text": x_title}, **kind},
                    "yaxis": {"title": {"text": y_title}, **(kind if is_log else {})},
                },
            }
    return plots
