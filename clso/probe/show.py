"""Metrics as texts: in their units, for tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from clso.probe.metrics import Metric

__all__ = ["figure_text"]

_SCALES = {
    "s": ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs")),
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B")),
    "J": ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ")),
}


def figure_text(metric: Metric, figure: Mapping[str, Any]) -> str:
    """A value with its deviation over seeds, an exponent with its standard error and the form that
    fits best; "-" if it was not measured."""
    value, spread = figure["value"], figure["spread"]
    if value is None:
        return "-"
    factor, unit = 1.0, metric.unit
    for size, name in _SCALES.get(metric.unit, ()):
        factor, unit = size, name
        if abs(value) >= size:
            break
    text = _short(value / factor)
    if spread is not None and spread["n"] > 1:
        text += f" ± {_short(spread['std'] / factor)}"
    detail = figure["detail"]
    if detail.get("standard_error") is not None:
        text += f" ± {detail['standard_error']:.2f}"
    form = f", {detail['form']}" if detail.get("form") else ""
    return f"{text} {unit}".rstrip() + form


def _short(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
