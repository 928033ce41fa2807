"""The records of `benchmarks/vsm.py`, and intervals over their seeds."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from scipy import stats

__all__ = ["Records", "Row", "interval"]

Row = dict[str, Any]


class Records:
    """Rows of a record, by section and name."""

    def __init__(self, folder: Path) -> None:
        lines = (folder / "records.jsonl").read_text().splitlines()
        self.rows: list[Row] = [json.loads(line) for line in lines]

    def of(self, section: str, name: str | None = None, blocks: int | None = None) -> list[Row]:
        """In the order of seeds."""
        found = [
            row
            for row in self.rows
            if row["section"] == section
            and name in (None, row["name"])
            and blocks in (None, row.get("blocks"))
        ]
        return sorted(found, key=lambda row: row["seed"])

    def values(self, section: str, name: str, blocks: int, key: str = "success") -> list[float]:
        """Of each seed that has one, in the order of seeds."""
        return [r[key] for r in self.of(section, name, blocks) if r.get(key) is not None]

    def lifetimes(self, name: str) -> str:
        """The section of a hand-set controller: that of new lifetimes, if it was measured there."""
        return "fresh" if self.of("fresh", name) else "levels"

    def names(self, section: str) -> list[str]:
        return list(dict.fromkeys(row["name"] for row in self.rows if row["section"] == section))

    def median(self, section: str, name: str, blocks: int, key: str = "success") -> float:
        """Over seeds, of those that have a value; NaN without any."""
        values = self.values(section, name, blocks, key)
        return median(values) if values else math.nan

    def paired(
        self,
        one: tuple[str, str],
        other: tuple[str, str],
        blocks: int,
        key: str = "success",
    ) -> tuple[float, float, float]:
        """`interval` of one's values less the other's of the same seeds; each is a section and a name."""
        own, base = (self.values(*which, blocks, key) for which in (one, other))
        return interval([a - b for a, b in zip(own, base, strict=True)])


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval."""
    mean, n = fmean(differences), len(differences)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half
