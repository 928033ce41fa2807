"""A probe on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from clso.probe.metrics import GROUPS, METRICS
from clso.probe.show import figure_text

__all__ = ["comparison_table", "metrics_tables", "reasons"]


def metrics_tables(record: Mapping[str, Any]) -> Iterator[Table]:
    """One table a group that was measured: a row a metric, a column a model."""
    models = record["models"]
    for group in GROUPS:
        rows = [m for m in METRICS if m.group == group and m.name in models[0]["metrics"]]
        if not rows:
            continue
        table = Table(title=group, title_justify="left", box=SIMPLE, pad_edge=False)
        table.add_column("metric", no_wrap=True)
        for model in models:
            table.add_column(model["name"], justify="right", no_wrap=True)
        for metric in rows:
            figures = (model["metrics"].get(metric.name) for model in models)
            table.add_row(
                metric.name, *("" if f is None else figure_text(metric, f) for f in figures)
            )
        yield table


def comparison_table(record: Mapping[str, Any]) -> Table:
    """First minus second, with intervals, corrected p and effect sizes."""
    head = ("model", "against", "metric", "difference", "95 %", "p (Holm)", "g", "delta")
    title = "comparisons, paired by test answer"
    table = Table(*head, title=title, title_justify="left", box=SIMPLE, pad_edge=False)
    for one in record["comparisons"]:
        g = one["hedges_g"]
        table.add_row(
            one["model"],
            one["against"],
            one["metric"],
            f"{one['difference']:+.4f}",
            f"{one['low']:+.4f} to {one['high']:+.4f}",
            f"{one['p_holm']:.2g}",
            "-" if g is None else f"{g:+.2f}",
            f"{one['cliffs_delta']:+.2f}",
        )
    return table


def reasons(record: Mapping[str, Any]) -> Iterator[str]:
    """Why what was not measured was not, a line a reason."""
    by_reason: dict[str, dict[str, None]] = {}
    for model in record["models"]:
        for name, figure in model["metrics"].items():
            if figure["value"] is None:
                by_reason.setdefault(f"{model['name']}: {figure['reason']}", {})[name] = None
    for reason, names in by_reason.items():
        model, _, why = reason.partition(": ")
        yield f"{model}: no {', '.join(names)}: {why}"
