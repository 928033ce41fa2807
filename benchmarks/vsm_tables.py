"""The tables of docs/vsm.md, from the records that `benchmarks/vsm.py` writes.

python -m benchmarks.vsm_tables docs/vsm.md runs/2026-11-29_vsm    # rewrites what stands between the page's marks
"""

from __future__ import annotations

import json
import math
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any

from scipy import stats

from benchmarks.vsm_verdict import verdict

__all__ = ["Records", "rewrite"]

Row = dict[str, Any]
_MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


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

    def names(self, section: str) -> list[str]:
        return list(dict.fromkeys(row["name"] for row in self.rows if row["section"] == section))

    def median(self, section: str, name: str, blocks: int, key: str = "success") -> float:
        """Over seeds, of those that have a value; NaN without any."""
        values = [r[key] for r in self.of(section, name, blocks) if r.get(key) is not None]
        return median(values) if values else math.nan


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def _number(value: float, digits: int = 3) -> str:
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def interval(differences: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval."""
    mean, n = fmean(differences), len(differences)
    half = float(stats.t.ppf(0.975, n - 1)) * stdev(differences) / math.sqrt(n)
    return mean, mean - half, mean + half


def _levels(records: Records) -> str:
    rows = []
    for name in records.names("levels"):
        cells = [name]
        for n in (5, 8):
            values = [r["success"] for r in records.of("levels", name, n)]
            cells += [f"{median(values):.3f} ({min(values):.3f}-{max(values):.3f})"]
            cells += [_number(records.median("levels", name, n, "plan_ratio"), 2)]
        cells += [_number(records.median("levels", name, 5, "operations"), 0)]
        cells += [_number(records.median("levels", name, 5, "parameters"), 0)]
        rows.append(cells)
    head = ["levels", "success, 5 blocks", "ratio", "8 blocks", "ratio", "operations", "parameters"]
    return _table(head, rows)


def _search(records: Records) -> str:
    rows = []
    for n in range(3, 11):
        found = records.of("search", "evolved", n)
        cells = [str(n), *(f"{r['success']:.3f} / {r['plan_ratio']:.3f}" for r in found)]
        whole = records.of("sizes", "all", n)
        cells += [" ".join(f"{r['success']:.3f}" for r in whole)]
        rows.append(cells)
    seeds = [f"evolved, seed {r['seed']}" for r in records.of("search", "evolved", 3)]
    return _table(["blocks", *seeds, "hand-set, seeds 0-2"], rows)


def _rivals(records: Records) -> str:
    rows = []
    order = ["gn1", *(n for n in records.names("rivals") if n != "gn1")]
    for name in order:
        first = records.of("rivals", name, 5)[0]
        episodes = f"{first['episodes']:,}" if first["episodes"] else "none"
        cells = [first["policy"], episodes, str(first["seeds"])]
        for n in (5, 8):
            found = records.of("rivals", name, n)
            row = found[0] if found else {}
            seeds = row.get("success_by_seed", [])
            spread = f" ({min(seeds):.3f}-{max(seeds):.3f})" if len(seeds) > 1 else ""
            cells += [f"{row['success']:.3f}{spread}" if row else "-"]
            cells += [_number(row.get("plan_ratio") or math.nan, 2)]
        rows.append(cells)
    for name in ("S1+S2", "all"):
        for e in (400, 2000, 10000):
            cells = [f"vsm {name}"]
            section, key = ("levels", name) if e == 400 else ("practice", f"{name}, {e}")
            found = records.of(section, key, 5)
            cells += [f"{e:,}", str(len(found))]
            for n in (5, 8):
                values = [r["success"] for r in records.of(section, key, n)]
                spread = f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else ""
                cells += [f"{median(values):.3f}{spread}" if values else "-"]
                cells += [_number(records.median(section, key, n, "plan_ratio"), 2)]
            rows.append(cells)
    head = ["policy", "episodes", "seeds", "success, 5 blocks", "ratio", "8 blocks", "ratio"]
    return _table(head, rows)


def _advantage(records: Records) -> str:
    rows = []
    for episodes in (400, 2000, 10000):
        rival = records.of("rivals", f"shared-pg, {episodes}", 5)
        for name in ("S1+S2", "all"):
            section, key = (
                ("levels", name) if episodes == 400 else ("practice", f"{name}, {episodes}")
            )
            for n in (5, 8):
                own = [r["success"] for r in records.of(section, key, n)]
                found = records.of("rivals", f"shared-pg, {episodes}", n)
                if not rival or len(own) < 2:
                    continue
                other = found[0]["success_by_seed"]
                test = stats.ttest_ind(own, other, equal_var=False)
                if own == other or (max(own) == min(own) and max(other) == min(other)):
                    low = high = fmean(own) - fmean(other)
                else:
                    low, high = test.confidence_interval(0.95)
                claim = "ahead" if low > 0 else "behind" if high < 0 else "no claim"
                gap = fmean(own) - fmean(other)
                rows.append(
                    [
                        name,
                        f"{episodes:,}",
                        str(n),
                        f"{gap:+.3f} ({low:+.3f} to {high:+.3f})",
                        claim,
                    ]
                )
    return _table(["vsm", "episodes", "blocks", "success less shared-pg's", ""], rows)


def _ablations(records: Records) -> str:
    rows = []
    for name in records.names("ablations"):
        against = "S1" if name.startswith("S1,") else "all"
        cells = [name]
        for n in (5, 8):
            own = [r["spl_low"] for r in records.of("ablations", name, n)]
            base = [r["spl_low"] for r in records.of("levels", against, n)]
            mean, low, high = interval([a - b for a, b in zip(own, base, strict=True)])
            cells += [
                _number(records.median("ablations", name, n)),
                f"{mean:+.3f} ({low:+.3f} to {high:+.3f})",
            ]
        rows.append(cells)
    head = ["", "success, 5 blocks", "SPL lost or won (95 %)", "8 blocks", "SPL lost or won (95 %)"]
    return _table(head, rows)


def _alarms(records: Records) -> str:
    rows = []
    for name in records.names("alarms"):
        base, kind = name.split(", ")
        cells = [base, kind]
        for n in (8, 10):
            own = [r["success"] for r in records.of("alarms", name, n)]
            off = [r["success"] for r in records.of("alarms", f"{base}, off", n)]
            rate = records.median("alarms", name, n, "alarms")
            cells += [f"{median(own):.3f}", _number(rate)]
            if kind == "off":
                cells.append("")
            else:
                mean, low, high = interval([a - b for a, b in zip(own, off, strict=True)])
                cells.append(f"{mean:+.3f} ({low:+.3f} to {high:+.3f})")
        rows.append(cells)
    head = ["levels", "alarm", "success, 8 blocks", "answered", "less off (95 %)"]
    return _table([*head, "10 blocks", "answered", "less off (95 %)"], rows)


def _shapley(records: Records) -> str:
    runs = records.of("shapley")
    rows = []
    for level in runs[0]["spl"]:
        values = [run["spl"][level] for run in runs]
        total = [sum(run["spl"].values()) for run in runs]
        share = fmean(v / t for v, t in zip(values, total, strict=True))
        rows.append(
            [
                level,
                f"{fmean(values):.3f}",
                f"{min(values):.3f} to {max(values):.3f}",
                f"{share:.1%}",
            ]
        )
    return _table(["level", "Shapley value of SPL", "over seeds", "share"], rows)


def _coalitions(records: Records) -> str:
    runs = records.of("shapley")
    keys = runs[0]["coalitions"]
    spl = {key: fmean(run["coalitions"][key]["spl"] for run in runs) for key in keys}
    cost = {key: fmean(run["coalitions"][key]["operations"] for run in runs) for key in keys}
    whole = "S1+S2+S3+S4+S5+purple"
    best = sorted(spl, key=lambda key: (-spl[key], len(key)))[:5]
    wanted = [*best, whole, "S1+S5", "S4+S5", "S5", "S1+S2", "S1", ""]
    rows = [
        [key or "none", f"{spl[key]:.3f}", f"{cost[key]:,.0f}"] for key in dict.fromkeys(wanted)
    ]
    return _table(["coalition", "SPL, 5 blocks", "operations a decision"], rows)


def _sizes(records: Records) -> str:
    rows = []
    for n in sorted({r["blocks"] for r in records.of("sizes")}):
        keys = ("success", "plan_ratio", "gn1_ratio", "operations")
        values = [records.median("sizes", "all", n, key) for key in keys]
        digits = (3, 3, 3, 0)
        rows.append([str(n), *(_number(v, d) for v, d in zip(values, digits, strict=True))])
    return _table(
        ["blocks", "success", "over the least", "over GN1", "operations a decision"], rows
    )


def _practice(records: Records) -> str:
    rows = []
    for name in records.names("practice"):
        base, episodes = name.rsplit(", ", 1)
        cells = [base, f"{int(episodes):,}"]
        for n in (5, 8):
            values = [r["success"] for r in records.of("practice", name, n)]
            cells.append(f"{median(values):.3f} ({min(values):.3f}-{max(values):.3f})")
        rows.append(cells)
    return _table(["levels", "episodes", "success, 5 blocks", "8 blocks"], rows)


def _parameters(records: Records) -> str:
    rows = []
    for name in records.names("parameters"):
        found = {r["blocks"]: r for r in records.of("parameters", name)}
        cells = [
            f"{found[5]['parameters']:,}",
            *(f"{found[n]['success']:.3f}" for n in (3, 5, 8, 10)),
        ]
        rows.append([*cells, *(f"{found[n]['flops']:.2e}" for n in (3, 5, 8, 10))])
    sizes = [f"FLOPs, {n}" for n in (3, 5, 8, 10)]
    return _table(["parameters", "3 blocks", "5", "8", "10", *sizes], rows)


TABLES: dict[str, Callable[[Records], str]] = {
    "levels": _levels,
    "search": _search,
    "rivals": _rivals,
    "advantage": _advantage,
    "ablations": _ablations,
    "alarms": _alarms,
    "shapley": _shapley,
    "coalitions": _coalitions,
    "sizes": _sizes,
    "practice": _practice,
    "parameters": _parameters,
    "verdict": verdict,
}


def rewrite(text: str, records: Records) -> str:
    """`text` with the table between each pair of marks made anew."""
    return _MARK.sub(lambda m: f"{m[1]}{TABLES[m[2]](records)}\n{m[3]}", text)


def main() -> None:
    page, folder = map(Path, sys.argv[1:3])
    page.write_text(rewrite(page.read_text(), Records(folder)))


if __name__ == "__main__":
    main()
