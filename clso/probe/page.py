"""The page of a probe: every model by every metric, a section a group, with the curves behind them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from textwrap import wrap
from typing import Any

from clso.probe.curves import PLOTS, curves_of
from clso.probe.metrics import GROUPS, METRICS, Metric
from clso.probe.show import figure_text
from clso.report.sections import Cell, Row, Section, Table, flat, number, plain_table, render

__all__ = ["write_page"]

_TITLES = {
    "task": "Answers",
    "inference": "What inference costs",
    "scaling": "How a pass grows",
    "hardware": "Use of the hardware",
    "robustness": "Robustness",
    "sensitivity": "Sensitivity of training",
    "states": "Dynamic states",
    "interpretability": "Interpretability",
}


def write_page(record: Mapping[str, Any], name: str) -> str:
    """The page as text; `record` is what probe.json holds."""
    models = record["models"]
    plots = curves_of(models)
    sections = [_section(group, models, plots) for group in GROUPS]
    sections += [_comparisons(record["comparisons"]), _made(record)]
    task, settings = record["task"], record["settings"]
    lead = (
        f"{len(models)} models on the task {task['task']} "
        f"({', '.join(f'{k} {v}' for k, v in task['options'].items())}), "
        f"{settings['seeds']} seed{'' if settings['seeds'] == 1 else 's'}, measured on "
        f"{settings['device']}. A dash is what was not measured: it unfolds to the reason, and a "
        "metric's name to what it is."
    )
    return render(
        title=f"CLSO probe {name}",
        lead=lead,
        cards=_cards(models),
        sections=[section for section in sections if section.tables and section.tables[0].rows],
        figures=plots,
    )


def _cards(models: Sequence[Mapping[str, Any]]) -> list[dict[str, str]]:
    by_name = {metric.name: metric for metric in METRICS}
    return [
        {
            "value": figure_text(by_name["accuracy"], model["metrics"]["accuracy"]),
            "name": f"test accuracy of {model['name']}",
        }
        for model in models
        if "accuracy" in model["metrics"]
    ]


def _section(group: str, models: Sequence[Mapping[str, Any]], plots: Collection[str]) -> Section:
    rows = [
        Row([_name(metric), *(_cell(metric, model) for model in models)])
        for metric in METRICS
        if metric.group == group and any(metric.name in model["metrics"] for model in models)
    ]
    head = ("metric", *(model["name"] for model in models))
    shown = [name for name, of, *_ in PLOTS if of == group and name in plots]
    return Section(group, _TITLES[group], plots=shown, tables=[Table(head, rows)])


def _name(metric: Metric) -> Cell:
    """It unfolds to the definition."""
    better = f" Better: {metric.better}." if metric.better else ""
    return Cell(metric.name, pre="\n".join(wrap(metric.text + better, 60)))


def _cell(metric: Metric, model: Mapping[str, Any]) -> Cell:
    figure = model["metrics"].get(metric.name)
    if figure is None:
        return Cell("")
    return Cell(figure_text(metric, figure), pre="\n".join(wrap(figure["reason"] or "", 60)))


def _comparisons(found: Sequence[Mapping[str, Any]]) -> Section:
    rows = [
        Row(
            [
                Cell(one["model"]),
                Cell(one["against"]),
                Cell(one["metric"]),
                number(one["difference"], "+.4f"),
                Cell(f"{one['low']:+.4f} to {one['high']:+.4f}"),
                number(one["p"], ".2g"),
                number(one["p_holm"], ".2g"),
                number(one["hedges_g"], "+.2f", "-"),
                number(one["cliffs_delta"], "+.2f"),
            ]
        )
        for one in found
    ]
    head = (
        *("model", "against", "metric", "difference", "95 % interval", "p", "p (Holm)"),
        *("Hedges' g", "Cliff's delta"),
    )
    note = (
        "First minus second, paired by test answer, means over seeds; the interval is a bootstrap's, "
        "p is Wilcoxon's, corrected by Holm for all rows. Chance is that of the examples: what "
        "another training would differ by stands as ± over seeds above."
    )
    return Section("comparisons", "Comparisons", [note], tables=[Table(head, rows)])


def _made(record: Mapping[str, Any]) -> Section:
    settings = [(key, str(value)) for key, value in record["settings"].items()]
    return Section(
        "made",
        "Made with",
        tables=[
            plain_table((), settings, "Settings"),
            plain_table((), flat(dict(record["manifest"])), "Code and machine (manifest.json)"),
        ],
    )
