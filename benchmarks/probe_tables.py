"""Tables of docs/probe.md: the metrics, by the framework's own definitions, and what was measured."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks import markdown
from benchmarks.nsm_tasks import EVOLVED, PUBLISHED, table
from clso import plugins
from clso.probe.folder import read_probe
from clso.probe.metrics import GROUPS, METRICS
from clso.tasks.base import Task

__all__ = ["by_task", "metrics", "tasks"]

ROOT = Path(__file__).parents[1]
RECORD = ROOT / "runs/2026-11-29_nsm-tasks"
SUITE = ROOT / "runs/2026-11-30_nsm-tasks"
SOLVED = 0.95
"""Accuracy from which bAbI counts a task as solved."""
_KEPT = (
    *("accuracy_2x", "accuracy_4x", "noise_drop", "noise_swap", "noise_replace", "adversarial"),
    *("states_per_token", "assignment_stability", "consistency", "feature_r2"),
)


def metrics() -> str:
    """Every metric of the framework, by group."""
    out: list[str] = []
    for group in GROUPS:
        out += [
            "",
            f"**{group}**",
            "",
            "| metric | unit | better | what it is |",
            "|---|---|---|---|",
        ]
        out += [
            f"| `{m.name}` | {m.unit} | {m.better} | {m.text} |"
            for m in METRICS
            if m.group == group
        ]
    return "\n".join(out[1:])


def tasks() -> str:
    """The committed record of all models on tasks: a table a task."""
    out: list[str] = []
    for path in sorted(RECORD.glob("*/probe.json")):
        record = read_probe(path)
        options = record["task"]["options"]
        settings = record["settings"]
        sizes = ", ".join(f"{name} {value}" for name, value in options.items())
        out += [
            "",
            f"**{record['task']['task']}** ({sizes}); {settings['seeds']} seed"
            f"{'' if settings['seeds'] == 1 else 's'}, at most {settings['steps']} steps of "
            f"{settings['batch']}, {settings['device']}:",
            "",
            table(record),
        ]
    return "\n".join(out[1:])


def by_task(*folders: Path) -> str:
    """All models on many tasks: accuracy by task, then the other metrics over all of them."""
    folders = folders or (SUITE,)
    paths = [path for folder in folders for path in folder.glob("*/probe.json")]
    records = sorted(map(read_probe, paths), key=_place)
    if not records:
        return ""
    links = " and ".join(f"[{folder.name}](../runs/{folder.name})" for folder in folders)
    said = f"{len(records)} tasks, a record each in {links}:"
    parts = [said, _trainings(records), _accuracies(records), _other(records)]
    return "\n\n".join(parts)


def _place(record: Mapping[str, Any]) -> tuple[bool, int, str]:
    kind = record["task"]["options"].get("kind")
    return kind is None, kind or 0, record["task"]["task"]


def _name(record: Mapping[str, Any]) -> str:
    """A task as `PUBLISHED` names it."""
    kind = record["task"]["options"].get("kind")
    return str(record["task"]["task"]) + (f":kind={kind}" if kind else "")


def _title(record: Mapping[str, Any]) -> str:
    """And how many examples it learns from, if not as many as it does by itself."""
    kind = plugins.load("tasks", record["task"]["task"]).subclass_of(Task)
    n_train = record["task"]["options"]["n_train"]
    usual = kind.Options().n_train
    return _name(record) + ("" if n_train == usual else f" ({n_train:,} examples)")


def _trainings(records: Iterable[Mapping[str, Any]]) -> str:
    """How they were trained, and how many came to an end by themselves."""
    lines = []
    by_settings: dict[tuple[int, ...], list[Mapping[str, Any]]] = {}
    keys = ("equal_parameters", "seeds", "steps", "batch", "eval_every", "stop_after")
    for record in records:
        of = tuple(record["settings"][key] for key in keys)
        by_settings.setdefault(of, []).append(record)
    for (parameters, seeds, steps, batch, every, after), own in by_settings.items():
        fits = [fit for record in own for model in record["models"] for fit in model["trainings"]]
        right = sum(fit["valid_accuracy"] == 1 for fit in fits)
        early = sum(fit["steps"] < steps and fit["valid_accuracy"] < 1 for fit in fits)
        named = ", ".join(map(_title, own))
        lines.append(
            f"- {named}: about {parameters:,} parameters, {seeds} seeds, at most {steps:,} steps of "
            f"{batch}. Of {len(fits)} trainings {right} stopped with every answer of valid right, {early} "
            f"when valid had not improved for {after} scorings ({every * after:,} steps); "
            f"{len(fits) - right - early} came to the last step."
        )
    return "\n".join(lines)


def _accuracies(records: list[dict[str, Any]]) -> str:
    """A row a task: mean over seeds with the interval, the best trained one in bold."""
    names = [model["name"] for model in records[0]["models"]]
    lines = markdown.head("task", "chance", *names, "published", numbers=True)
    found: dict[str, list[float]] = {name: [] for name in names}
    for record in records:
        shown = {model["name"]: model["metrics"]["accuracy"] for model in record["models"]}
        chance = record["models"][0]["metrics"]["chance"]["value"]
        best = max(one["value"] for name, one in shown.items() if name != EVOLVED)
        cells = []
        for name in names:
            if name not in shown:
                cells.append("-")
                continue
            cells.append(_interval(shown[name], name != EVOLVED and shown[name]["value"] == best))
            if record["task"]["task"] == "stories":
                found[name].append(shown[name]["value"])
        _, published = PUBLISHED.get(_name(record), ("", {}))
        peers = ", ".join(f"{name} {value:.3f}" for name, value in published.items())
        lines.append(markdown.row(_title(record), f"{chance:.3f}", *cells, peers))
    if len(found[names[0]]) > 1:
        lines.append(
            markdown.row(
                "**stories, mean**", "", *(f"{fmean(one):.3f}" for one in found.values()), ""
            )
        )
        solved = (str(sum(value >= SOLVED for value in one)) for one in found.values())
        lines.append(markdown.row(f"stories solved (from {SOLVED:.2f} on)", "", *solved, ""))
    return "\n".join(lines)


def _interval(figure: Mapping[str, Any], is_best: bool) -> str:
    shown = f"**{figure['value']:.3f}**" if is_best else f"{figure['value']:.3f}"
    spread = figure["spread"]
    return shown + (f" ({spread['low']:.3f}-{spread['high']:.3f})" if spread else "")


def _other(records: list[dict[str, Any]]) -> str:
    """A row a model: other metrics, mean over the tasks that have them, and SimpleNSM's comparisons."""
    first = records[0]["models"][0]["name"]
    known = [m for m in _KEPT if any(m in model["metrics"] for model in records[0]["models"])]
    lines = markdown.head("model", *known, f"{first} better", f"{first} worse", numbers=True)
    for i, model in enumerate(records[0]["models"]):
        cells = []
        own = [one for r in records for one in r["models"] if one["name"] == model["name"]]
        for metric in known:
            figures = [one["metrics"].get(metric, {}).get("value") for one in own]
            values = [value for value in figures if value is not None]
            cells.append(f"{fmean(values):.3f}" if values else "-")
        pairs = [
            one
            for record in records
            for one in record["comparisons"]
            if (one["model"], one["against"]) == (first, model["name"])
            and one["metric"] == "accuracy"
            and one["p_holm"] < 0.05
        ]
        better = sum(one["difference"] > 0 for one in pairs)
        counts = ("", "") if i == 0 else (str(better), str(len(pairs) - better))
        lines.append(markdown.row(model["name"], *cells, *counts))
    said = (
        f"Means over the {len(records)} tasks. The last columns count the tasks on which {first} has "
        "significantly more or fewer right answers (Wilcoxon, p < 0.05 after Holm's correction):"
    )
    return "\n".join([said, "", *lines])
