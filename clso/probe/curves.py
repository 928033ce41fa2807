"""The curves behind a probe's figures, as plots of plotly.js: a line a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from clso.report.plots import Plot, label
from clso.report.style import COLOURS

__all__ = ["PLOTS", "Keys", "curves_of"]

_COLOURS = ("--own", "--ink", *COLOURS, "#D55E00", "--muted")
_DASHES = ("solid", "dash", "dot")

Record = Mapping[str, Any]
Keys = tuple[str, str] | None
"""By which the points of a metric's detail have their coordinates; None: they are pairs."""


# name, group, metric, keys, title of x, title of y, whether both axes are logarithmic
PLOTS: tuple[tuple[str, str, str, Keys, str, str, bool], ...] = (
    ("length", "scaling", "time_by_length", None, "tokens", "s, forward and backward", True),
    ("memory", "scaling", "memory_by_length", None, "tokens", "bytes at the peak", True),
    (
        *("longer", "robustness", "degradation_slope", ("mean_length", "accuracy")),
        *("mean tokens of test sequences, of one to four times the length", "accuracy", False),
    ),
    (
        *("drop", "robustness", "noise_drop", ("rate", "accuracy")),
        *("share of tokens dropped", "accuracy", False),
    ),
    (
        *("swap", "robustness", "noise_swap", ("rate", "accuracy")),
        *("share of tokens swapped", "accuracy", False),
    ),
    (
        *("replace", "robustness", "noise_replace", ("rate", "accuracy")),
        *("share of tokens replaced", "accuracy", False),
    ),
    (
        *("flips", "robustness", "adversarial", ("flips", "accuracy")),
        *("flips by an adversary", "accuracy", False),
    ),
    (
        *("rates", "sensitivity", "lr_sensitivity", ("lr", "accuracy")),
        *("learning rate", "accuracy on valid", False),
    ),
    (
        *("allocated", "states", "states_allocated", None),
        *("share of the sequence", "states allocated", False),
    ),
)


def curves_of(models: Sequence[Record]) -> dict[str, Plot]:
    """The plots by name, of the models that have such points; others are left out."""
    plots: dict[str, Plot] = {}
    for name, _, metric, keys, x_title, y_title, is_log in PLOTS:
        traces = []
        for i, model in enumerate(models):
            detail = model["metrics"].get(metric, {}).get("detail", {})
            points = detail.get("points")
            if not points:
                continue
            first, second = keys or (0, 1)
            x, y = ([point[key] for point in points] for key in (first, second))
            traces.append(
                {
                    "x": x,
                    "y": y,
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
