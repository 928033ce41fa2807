"""The tables of `vsm` and its rivals at equal numbers of episodes."""

from __future__ import annotations

import math
from statistics import fmean, median, variance

from scipy import stats

from benchmarks.vsm_markdown import number, sided, signed, spread, table
from benchmarks.vsm_records import Records, Row

__all__ = ["advantage", "rivals", "search_episodes"]

_PRACTICE = (400, 2000, 10_000)


def search_episodes(records: Records) -> int:
    """Of a whole search, practice and exams; the median over searches."""
    found = [row["counts"]["episodes"] for row in records.of("search", "evolved", 5)]
    return int(median(found) + 0.5)


def _own(records: Records) -> list[tuple[str, int, str, str]]:
    """What is compared with rivals: a label, its episodes, and the section and name of its rows."""
    out = []
    for episodes in _PRACTICE:
        for name in ("S1+S2", "all"):
            section, key = "practice", f"{name}, {episodes}"
            if episodes == 400:
                section, key = records.lifetimes(name), name
            out.append((name, episodes, section, key))
    return [*out, ("evolved", search_episodes(records), "search", "evolved")]


def rivals(records: Records) -> str:
    """What learns nothing first, GN1 before all; then by episodes."""
    first = {name: records.of("rivals", name, 5)[0] for name in records.names("rivals")}
    shown = sorted(first, key=lambda name: (first[name]["episodes"], name != "gn1"))
    rows = [_rival(records, name, first[name]) for name in shown]
    for label, episodes, section, key in _own(records):
        n_seeds = len(records.of(section, key, 5))
        cells = [f"vsm {label}", f"{episodes:,}", str(n_seeds)]
        for n in (5, 8):
            cells.append(spread(records.values(section, key, n)))
            cells.append(number(records.median(section, key, n, "plan_ratio"), 2))
        rows.append(cells)
    head = ["policy", "episodes", "seeds", "success, 5 blocks", "ratio", "8 blocks", "ratio"]
    return table(head, rows)


def _rival(records: Records, name: str, first: Row) -> list[str]:
    episodes = f"{first['episodes']:,}" if first["episodes"] else "none"
    cells = [first["policy"], episodes]
    cells.append(str(first["seeds"]))
    for n in (5, 8):
        found = records.of("rivals", name, n)
        cells.append(spread(found[0]["success_by_seed"] if found else []))
        ratio = found[0]["plan_ratio"] if found else None
        cells.append(number(math.nan if ratio is None else ratio, 2))
    return cells


def advantage(records: Records) -> str:
    """Success less that of shared-pg with as many episodes."""
    rows = []
    for label, episodes, section, key in _own(records):
        for n in (5, 8):
            own = records.values(section, key, n)
            found = records.of("rivals", f"shared-pg, {episodes}", n)
            other = found[0]["success_by_seed"] if found else []
            if min(len(own), len(other)) < 2:
                continue
            gap = _welch(own, other)
            rows.append([label, f"{episodes:,}", str(n), signed(gap), sided(gap)])
    return table(["vsm", "episodes", "blocks", "success less shared-pg's", ""], rows)


def _welch(own: list[float], other: list[float]) -> tuple[float, float, float]:
    """The difference of means and its 95 % interval (Welch 1947); no width without any variance."""
    gap = fmean(own) - fmean(other)
    if len({*own}) == len({*other}) == 1:
        return gap, gap, gap
    errors = [variance(side) / len(side) for side in (own, other)]
    freedom = sum(errors) ** 2 / sum(
        error**2 / (len(side) - 1) for error, side in zip(errors, (own, other), strict=True)
    )
    half = float(stats.t.ppf(0.975, freedom)) * math.sqrt(sum(errors))
    return gap, gap - half, gap + half
