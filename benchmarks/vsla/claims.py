"""The published figures of VSLA against a record. Nothing published says on which data or hardware, so ratios are compared.

A range holds if what was measured lies in it, on mixes of different lengths, padded to 4,096 as the baseline; a figure beyond
it is said to exceed it. Padding is what was published; people sort by length first, which is told beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.vsla.records import Rows, layout_ratio, of_part

__all__ = ["Claim", "claims_table", "judge"]

_EQUAL = "choice:4096"


@dataclass(frozen=True)
class Claim:
    claim: str
    published: str
    measured: str
    verdict: str


def judge(rows: Rows) -> list[Claim]:
    """Every published figure, in the order in which they were named."""
    return [
        _range(rows, "memory saved by not padding", "1.4 to 1.7 times", (1.4, 1.7), "peak_bytes"),
        _saved(rows, "FLOPs saved", (0.30, 0.40), lambda f: f["attention"] + f["rest"]),
        _saved(rows, "FLOPs saved in attention", (0.33, 0.33), lambda f: f["attention"]),
        _saved(rows, "FLOPs saved in everything else", (0.35, 0.35), lambda f: f["rest"]),
        _utilisation(rows),
        _stacking(rows),
        _range(
            rows,
            "faster (of what is not said; here forward and backward)",
            "1.9 to 5.3 times",
            (1.9, 5.3),
            "time_s",
        ),
        Claim(
            "94 % (of what is not said)",
            "94 %",
            _widest_saving(rows),
            "cannot be tested: no quantity was named; the largest share of memory that a mix saved is shown",
        ),
        _parameters(rows),
        _training(rows),
        Claim(
            "perplexity equal to padded training",
            "equal",
            "one loss and one gradient, within 1e-9",
            "held (by a test)",
        ),
    ]


def claims_table(rows: Rows) -> str:
    """The judged figures as Markdown."""
    lines = ["| claim | published | measured | verdict |", "|---|---|---|---|"]
    lines += [f"| {c.claim} | {c.published} | {c.measured} | {c.verdict} |" for c in judge(rows)]
    return "\n".join(lines)


def _mixes(rows: Rows) -> list[str]:
    return [m for m in dict.fromkeys(r["mix"] for r in of_part(rows, "layouts")) if m != _EQUAL]


def _verdict(values: list[float], low: float, high: float) -> str:
    """Whether all of them lie in a range, within 5 % of its ends."""
    if not values:
        return "cannot be tested: not measured"
    if all(low * 0.95 <= v <= high * 1.05 for v in values):
        return "held"
    if min(values) > high:
        return "exceeded"
    return (
        "exceeded on some mixes"
        if max(values) > high * 1.05 and min(values) >= low * 0.95
        else "did not hold on all"
    )


def _shown(values: list[float], form: str) -> str:
    if not values:
        return "-"
    low, high = (format(v, form) for v in (min(values), max(values)))
    return low if low == high else f"{low} to {high}"


def _range(
    rows: Rows, claim: str, published: str, bounds: tuple[float, float], quantity: str
) -> Claim:
    values = [v for m in _mixes(rows) if (v := layout_ratio(rows, m, 1, quantity)) is not None]
    again = [
        v for m in _mixes(rows) if (v := layout_ratio(rows, m, 4, quantity, "sorted")) is not None
    ]
    beside = f"; {_shown(again, '.2f')} beside sorted, 4 micro-batches" if again else ""
    return Claim(
        claim, published, f"{_shown(values, '.2f')} times{beside}", _verdict(values, *bounds)
    )


def _saved(
    rows: Rows, claim: str, bounds: tuple[float, float], part: Callable[[dict[str, int]], int]
) -> Claim:
    cells = {
        (r["mix"], r["layout"]): r["flops"] for r in of_part(rows, "layouts") if r["micro"] == 1
    }
    values = [
        1 - part(cells[m, "packed"]) / part(cells[m, "padded"])
        for m in _mixes(rows)
        if (m, "padded") in cells
    ]
    low, high = bounds
    published = f"{low:.0%}" if low == high else f"{low:.0%} to {high:.0%}"
    return Claim(claim, published, _shown(values, ".0%"), _verdict(values, low, high))


def _utilisation(rows: Rows) -> Claim:
    shares = [1 / v for m in _mixes(rows) if (v := layout_ratio(rows, m, 1, "n_slots")) is not None]
    return Claim(
        "slots of padded batches that hold tokens",
        "65 %",
        _shown(shares, ".0%"),
        _verdict(shares, 0.65, 0.65),
    )


def _stacking(rows: Rows) -> Claim:
    found = [r for r in of_part(rows, "stacking") if "mix" in r and r["mix"] != _EQUAL]
    sizes = [r["padded_bytes"] / r["ragged_bytes"] for r in found]
    pairs = [(r["time_s"]["add padded"], r["time_s"]["add ragged"]) for r in found]
    times = [padded / ragged for padded, ragged in pairs if padded and ragged]
    text = (
        f"sizes {_shown(sizes, '.1f')} times; an addition is {_shown(times, '.1f')} times as fast"
    )
    return Claim(
        "10.6 times faster than padding",
        "10.6 times",
        text,
        "the published figure is a ratio of array sizes under a wrong label; "
        + _verdict(sizes, 10.6, 10.6),
    )


def _widest_saving(rows: Rows) -> str:
    ratios = [v for m in _mixes(rows) if (v := layout_ratio(rows, m, 1, "peak_bytes")) is not None]
    return f"{1 - 1 / max(ratios):.0%}" if ratios else "-"


def _parameters(rows: Rows) -> Claim:
    found = of_part(rows, "large")
    n = found[0]["parameters"] if found else None
    verdict = (
        "cannot be tested: not measured"
        if n is None
        else "did not hold: the published sizes give more"
    )
    return Claim(
        "parameters of the large model", "about 1.1 B", "-" if n is None else f"{n:,}", verdict
    )


def _training(rows: Rows) -> Claim:
    cells = {
        (r["micro"], r["layout"]): r["step_time_s"]
        for r in of_part(rows, "large")
        if r.get("step_time_s") is not None
    }
    saved = [
        1 - cells[m, "packed"] / t
        for (m, layout), t in cells.items()
        if layout == "padded" and (m, "packed") in cells
    ]
    beside = [
        1 - cells[m, "packed"] / t
        for (m, layout), t in cells.items()
        if layout == "sorted" and (m, "packed") in cells
    ]
    measured = (
        f"{_shown(saved, '.0%')} less time a step; {_shown(beside, '.0%')} beside sorted"
        if saved
        else "-"
    )
    verdict = _verdict(saved, 0.20, 0.30) if saved else "cannot be tested: needs a GPU"
    return Claim("training of the large model is faster", "20 % to 30 %", measured, verdict)
