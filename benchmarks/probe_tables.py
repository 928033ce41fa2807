"""Tables of docs/probe.md: the metrics, by the framework's own definitions."""

from __future__ import annotations

from clso.probe.metrics import GROUPS, METRICS

__all__ = ["metrics"]


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
