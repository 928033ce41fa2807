"""The tables of docs/vsm.md, from the records that `benchmarks/vsm.py` writes.

python -m benchmarks.vsm_tables docs/vsm.md runs/2026-11-29_vsm    # rewrites what stands between the page's marks
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean

from benchmarks.vsm_markdown import number, sided, signed, spread, table
from benchmarks.vsm_records import Records
from benchmarks.vsm_rivals import advantage, rivals
from benchmarks.vsm_verdict import verdict

__all__ = ["TABLES", "rewrite"]

_SIZES = "sizes"
_MARK = re.compile(r"(<!-- table: ([\w-]+) -->\n).*?(<!-- /table -->)", re.DOTALL)


def _levels(records: Records) -> str:
    rows = []
    for name in records.names("levels"):
        section = records.lifetimes(name)
        seeds = [r["seed"] for r in records.of(section, name, 5)]
        cells = [name, f"{min(seeds)}-{max(seeds)}"]
        for n in (5, 8):
            cells += [spread(records.values(section, name, n))]
            cells += [number(records.median(section, name, n, "plan_ratio"), 2)]
        cells += [number(records.median(section, name, 5, "operations"), 0)]
        cells += [number(records.median(section, name, 5, "parameters"), 0)]
        rows.append(cells)
    head = ["levels", "seeds", "success, 5 blocks", "ratio", "8 blocks", "ratio"]
    return table([*head, "operations", "parameters"], rows)


def _search(records: Records) -> str:
    rows = []
    for n in range(3, 11):
        keys = ("success", "plan_ratio")
        cells = [spread(records.values("search", "evolved", n, key)) for key in keys]
        rows.append([str(n), *cells, spread(records.values(_SIZES, "all", n))])
    n_seeds = len(records.of("search", "evolved", 5))
    head = ["blocks", f"success, {n_seeds} searches", "ratio", "success, hand-set"]
    return table(head, rows)


def _ablations(records: Records) -> str:
    rows = []
    for name in records.names("ablations"):
        against = "S1" if name.startswith("S1,") else "all"
        cells = [name]
        for n in (5, 8):
            pair = ("ablations", name), ("levels", against)
            gap = signed(records.paired(*pair, n, "spl_low"))
            cells += [number(records.median("ablations", name, n)), gap]
        rows.append(cells)
    head = ["", "success, 5 blocks", "SPL lost or won (95 %)", "8 blocks", "SPL lost or won (95 %)"]
    return table(head, rows)


def _alarms(records: Records) -> str:
    rows = []
    for name in records.names("alarms"):
        base, kind = name.split(", ")
        cells = [base, kind]
        for n in (8, 10):
            cells.append(number(records.median("alarms", name, n)))
            cells.append(number(records.median("alarms", name, n, "alarms")))
            pair = ("alarms", name), ("alarms", f"{base}, off")
            cells.append("" if kind == "off" else signed(records.paired(*pair, n)))
        rows.append(cells)
    head = ["levels", "alarm", "success, 8 blocks", "answered", "less off (95 %)"]
    return table([*head, "10 blocks", "answered", "less off (95 %)"], rows)


def _betti(records: Records) -> str:
    """Betti's alarm against each other one, paired by seed."""
    rows = []
    for base in ("S1", "all"):
        for kind in ("revisits", "no-progress", "random", "off"):
            pair = ("alarms", f"{base}, betti"), ("alarms", f"{base}, {kind}")
            for n in (8, 10):
                success, spl = (records.paired(*pair, n, key) for key in ("success", "spl_low"))
                rows.append([base, kind, str(n), signed(success), signed(spl), sided(spl)])
    head = ["levels", "betti less", "blocks", "success (95 %)", "SPL (95 %)", "betti, by SPL"]
    return table(head, rows)


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
    return table(["level", "Shapley value of SPL", "over seeds", "share"], rows)


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
    return table(["coalition", "SPL, 5 blocks", "operations a decision"], rows)


def _sizes(records: Records) -> str:
    rows = []
    for n in sorted({r["blocks"] for r in records.of(_SIZES)}):
        keys = ("success", "plan_ratio", "gn1_ratio", "operations")
        values = [records.median(_SIZES, "all", n, key) for key in keys]
        digits = (3, 3, 3, 0)
        rows.append([str(n), *(number(v, d) for v, d in zip(values, digits, strict=True))])
    return table(["blocks", "success", "over the least", "over GN1", "operations a decision"], rows)


def _large(records: Records) -> str:
    """The searches' winners with more blocks than the least number of moves is known for."""
    rows = []
    for n in (12, 16, 20):
        keys = ("success", "gn1_ratio")
        cells = [spread(records.values("large", "evolved", n, key)) for key in keys]
        operations = records.median("large", "evolved", n, "operations")
        rows.append([str(n), *cells, number(operations, 0)])
    n_seeds = len(records.of("large", "evolved", 12))
    head = ["blocks", f"success, {n_seeds} winners", "over GN1", "operations a decision"]
    return table(head, rows)


def _front(records: Records) -> str:
    """The members of the front, the cheapest first."""
    rows = []
    for row in sorted(records.of("front"), key=lambda row: (row["n_bytes"], row["operations"])):
        cells = [number(row["spl_low"]), number(row["success"])]
        cells += [number(row["operations"], 0), f"{row['n_bytes']:,}"]
        rows.append(["+".join(row["levels"]) or "none", *cells])
    return table(["levels", "SPL, test", "success", "operations a decision", "bytes"], rows)


def _practice(records: Records) -> str:
    rows = []
    for name in records.names("practice"):
        base, episodes = name.rsplit(", ", 1)
        cells = [spread(records.values("practice", name, n)) for n in (5, 8)]
        rows.append([base, f"{int(episodes):,}", *cells])
    return table(["levels", "episodes", "success, 5 blocks", "8 blocks"], rows)


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
    return table(["parameters", "3 blocks", "5", "8", "10", *sizes], rows)


TABLES: dict[str, Callable[[Records], str]] = {
    "levels": _levels,
    "search": _search,
    "rivals": rivals,
    "advantage": advantage,
    "ablations": _ablations,
    "alarms": _alarms,
    "betti": _betti,
    "shapley": _shapley,
    "coalitions": _coalitions,
    "sizes": _sizes,
    "large": _large,
    "front": _front,
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
