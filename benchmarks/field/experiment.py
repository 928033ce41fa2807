"""A small comparison: variants on the same problems and seeds, a record a run, means with intervals.

Seeds below `TUNED` are those that choices were made on; what is stated is of the others."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.field.runs import read
from clso.prove.statistics import describe

__all__ = [
    "TUNED",
    "Row",
    "Variant",
    "arguments",
    "by_problem",
    "difference",
    "grid",
    "interval",
    "measure",
    "paired",
    "values",
]

Row = dict[str, Any]
Variant = Callable[[str, int], Mapping[str, float]]
"""(problem, seed) -> what was found, by name."""

TUNED = 100


def arguments(description: str | None, seeds: int) -> tuple[Path, range]:
    """`--out FOLDER --seeds N --first SEED` of a command line."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True, help="the folder of records.jsonl")
    parser.add_argument("--seeds", type=int, default=seeds)
    parser.add_argument("--first", type=int, default=TUNED, help="0: the seeds that were tuned on")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    return given.out, range(given.first, given.first + given.seeds)


def measure(
    path: Path, variants: Mapping[str, Variant], problems: Sequence[str], seeds: Sequence[int]
) -> list[Row]:
    """Run what `path` does not hold, seed by seed; all rows of these seeds."""
    rows = read(path)
    done = {(row["problem"], row["variant"], row["seed"]) for row in rows}
    with path.open("a") as file:
        for seed in seeds:
            for problem in problems:
                for name, run in variants.items():
                    if (problem, name, seed) in done:
                        continue
                    begin_s = time.process_time()
                    found = run(problem, seed)
                    row = {"problem": problem, "variant": name, "seed": seed, **found}
                    row["cpu_s"] = round(time.process_time() - begin_s, 3)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
                    rows.append(row)
    return [row for row in rows if row["seed"] in seeds]


def values(rows: Sequence[Row], variant: str, key: str) -> list[float]:
    """One number a run, in the order of problems and seeds."""
    chosen = [row for row in rows if row["variant"] == variant]
    return [row[key] for row in sorted(chosen, key=lambda row: (row["problem"], row["seed"]))]


def interval(numbers: Sequence[float]) -> tuple[float, float]:
    """95 % of the bootstrapped means; the same numbers give the same interval."""
    found = describe(numbers)
    return found["low"], found["high"]


def paired(rows: Sequence[Row], a: str, b: str, key: str) -> tuple[float, tuple[float, float]]:
    """Mean of `a` minus `b` over equal problems and seeds, and its interval: resolved if 0 is
    outside."""
    differences = [x - y for x, y in zip(values(rows, a, key), values(rows, b, key), strict=True)]
    return fmean(differences), interval(differences)


def grid(rows: Sequence[Row], variants: Sequence[str], keys: Mapping[str, str]) -> str:
    """A Markdown table of means with intervals; `keys` maps a row's key to a head and its format."""
    lines = ["| | " + " | ".join(keys) + " |", "|---|" + "---:|" * len(keys)]
    for variant in variants:
        cells = []
        for key in keys.values():
            name, _, form = key.partition(":")
            numbers = values(rows, variant, name)
            low, high = interval(numbers)
            cells.append(f"{fmean(numbers):{form}} ({low:{form}} to {high:{form}})")
        lines.append(f"| {variant} | " + " | ".join(cells) + " |")
    assert not any(math.isnan(v) for row in rows for v in row.values() if isinstance(v, float))
    return "\n".join(lines)


def difference(rows: Sequence[Row], a: str, b: str, key: str, what: str) -> str:
    """`paired` in a sentence; `what` says what is compared."""
    mean, (low, high) = paired(rows, a, b, key)
    return f"{what} minus {b}: {mean:+.3f} ({low:+.3f} to {high:+.3f})."


def by_problem(
    rows: Sequence[Row],
    problems: Sequence[str],
    variants: Sequence[str],
    keys: Mapping[str, str],
    key: str,
    what: str,
) -> list[str]:
    """A section a problem: its `grid`, and by how much the first variant's `key` differs from each
    other's."""
    parts = []
    for problem in problems:
        here = [row for row in rows if row["problem"] == problem]
        seeds = sorted({row["seed"] for row in here})
        parts += [
            f"## {problem}, seeds {seeds[0]} to {seeds[-1]}",
            grid(here, variants, keys),
            *(difference(here, variants[0], other, key, what) for other in variants[1:]),
        ]
    return parts
