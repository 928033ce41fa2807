"""Tables of docs/probe.md: the metrics, by the framework's own definitions, and what was measured."""

from __future__ import annotations

from pathlib import Path

from benchmarks.nsm_tasks import table
from clso.probe.folder import read_probe
from clso.probe.metrics import GROUPS, METRICS

__all__ = ["metrics", "tasks"]

RECORD = Path(__file__).parents[1] / "runs/2026-11-29_nsm-tasks"


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
