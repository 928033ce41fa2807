"""The tables of docs/vsla.md from the committed records; a test holds the page to them."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import fmean, stdev
from typing import Any

from benchmarks import markdown
from benchmarks.vsla.aims import aims_table
from benchmarks.vsla.claims import claims_table
from benchmarks.vsla.records import ROOT, SHARES, Rows, layout_ratio, of_part, read, records

__all__ = ["PAGE", "rewritten"]

PAGE = ROOT / "docs" / "vsla.md"
_NONE = "-"
_NOT_MEASURED = "Not measured."


def layouts(rows: Rows) -> list[str]:
    lines = markdown.head(
        "mix",
        "micro-batches",
        "layout",
        "slots",
        "forward and backward",
        "of packed",
        "peak MB",
        "of packed",
    )
    for r in of_part(rows, "layouts"):
        ratios = (
            layout_ratio(rows, r["mix"], r["micro"], q, r["layout"])
            for q in ("time_s", "peak_bytes")
        )
        time_ratio, peak_ratio = (_NONE if v is None else f"{v:.2f}" for v in ratios)
        cells = (
            f"`{r['mix']}`",
            str(r["micro"]),
            r["layout"],
            f"{r['n_slots']:,}",
            _seconds(r["time_s"]),
            time_ratio,
        )
        lines.append(markdown.row(*cells, _megabytes(r["peak_bytes"], r["status"]), peak_ratio))
    return lines


def patterns(rows: Rows) -> list[str]:
    found = [r for r in of_part(rows, "patterns") if "length" in r]
    lengths = sorted({r["length"] for r in found})
    out: list[str] = []
    shown: dict[str, Callable[[dict[str, Any]], str]] = {
        "Forward and backward": lambda r: _seconds(r["time_s"]),
        "Peak MB": lambda r: _megabytes(r["peak_bytes"], r["status"]),
        "Attention GFLOP, forward": lambda r: f"{r['flops'] / 1e9:,.2f}",
    }
    for title, show in shown.items():
        out += ["", f"{title}:", "", *markdown.head("pattern", *(f"{n:,}" for n in lengths))]
        for pattern in dict.fromkeys(r["pattern"] for r in found):
            cells = {r["length"]: show(r) for r in found if r["pattern"] == pattern}
            out.append(markdown.row(f"`{pattern}`", *(cells.get(n, _NONE) for n in lengths)))
    return out[1:]


def stacking(rows: Rows) -> list[str]:
    found = of_part(rows, "stacking")
    ways = ("ragged", "padded", "nested")
    lines = markdown.head(
        "mix",
        "ragged MB",
        "padded MB",
        *(f"{what} {way}, ms" for what in ("stack", "add") for way in ways),
    )
    for r in found:
        if "mix" in r:
            times = (
                _milliseconds(r["time_s"][f"{what} {way}"], 2)
                for what in ("stack", "add")
                for way in ways
            )
            lines.append(
                markdown.row(
                    f"`{r['mix']}`", *(f"{r[f'{w}_bytes'] / 1e6:.1f}" for w in ways[:2]), *times
                )
            )
    lines += [
        "",
        *markdown.head("convolution of two of length", "direct, ms", "fft, ms", "auto, ms"),
    ]
    for r in found:
        if "convolution" in r:
            lines.append(
                markdown.row(
                    f"{r['convolution']:,}",
                    *(_milliseconds(r["time_s"][m], 3) for m in ("direct", "fft", "auto")),
                )
            )
    return lines


def contexts(rows: Rows) -> list[str]:
    if not of_part(rows, "contexts"):
        return [_NOT_MEASURED]
    lines = markdown.head(
        "pattern",
        "test loss, nats",
        "by seed",
        "mean context",
        "10 %, 50 %, 90 %",
        "segments that expand",
    )
    for r in of_part(rows, "contexts"):
        if "losses" in r:
            mean = f"{r['mean_context']:.0f}" if r["pattern"] != "full" else _NONE
            adaptive = r["pattern"].startswith("adaptive")
            spread = ", ".join(f"{q:.0f}" for q in r["context_quantiles"]) if adaptive else _NONE
            share = f"{r['expanding']:.0%}" if adaptive else _NONE
            by_seed = ", ".join(f"{loss:.4f}" for loss in r["losses"])
            lines.append(
                markdown.row(
                    f"`{r['pattern']}`", _spread(r["losses"]), by_seed, mean, spread, share
                )
            )
    for r in of_part(rows, "contexts"):
        if r["signal"] == "gradient norm":
            ranks = ", ".join(
                f"{name} {value:+.2f}" for name, value in r["rank_correlation"].items()
            )
            low, middle, high = r["quantiles"]
            lines += [
                "",
                f"Gradient norms of {r['segments']} single segments: {low:.2f}, {middle:.2f}, {high:.2f} (10 %, 50 %, 90 %); "
                f"rank correlation with a segment's own {ranks}.",
            ]
    return lines


def large(rows: Rows) -> list[str]:
    found = of_part(rows, "large")
    if not found:
        return [_NOT_MEASURED]
    if "layout" not in found[0]:
        return [f"{found[0]['parameters']:,} parameters; {found[0]['reason']}."]
    lines = markdown.head(
        "micro-batches", "layout", "slots", "forward", "step", "of packed", "peak GB", "status"
    )
    steps = {(r["micro"], r["layout"]): r["step_time_s"] for r in found}
    for r in found:
        packed = steps.get((r["micro"], "packed"))
        ratio = f"{r['step_time_s'] / packed:.2f}" if r["step_time_s"] and packed else _NONE
        peak = _NONE if r["peak_bytes"] is None else f"{r['peak_bytes'] / 1e9:.1f}"
        cells = (str(r["micro"]), r["layout"], f"{r['n_slots']:,}", _seconds(r["forward_time_s"]))
        lines.append(markdown.row(*cells, _seconds(r["step_time_s"]), ratio, peak, r["status"]))
    return lines


def front(rows: Rows) -> list[str]:
    if not of_part(rows, "front"):
        return [_NOT_MEASURED]
    lines = markdown.head(
        "seed",
        "generations x population",
        "evaluations",
        "full: test loss",
        "kv bytes",
        "at most",
        "member: test loss",
        "more than full",
        "kv bytes",
        "of full",
        "patterns",
    )
    for r in of_part(rows, "front"):
        full, pop = r["full"], r["pop"]
        for name, share in SHARES.items():
            if r[name] is None:
                continue
            cells = (
                str(r["seed"]),
                f"{r['gens']} x {pop} / {r['full_gens']} x {pop}",
                f"{r['evaluated']} / {r['full_evaluated']}",
                f"{full['test_loss']:.4f}",
                f"{full['kv_bytes']:,.0f}",
                f"{share:.0%}",
            )
            lines.append(markdown.row(*cells, *_member(r[name], full)))
    lines += [
        "",
        *markdown.head("seed", "search", "least loss on the fitness text", "different weights"),
    ]
    for r in of_part(rows, "front"):
        for name, label in (("any", "for a front"), ("full", "full attention alone")):
            loss, weights = r["least_fitness_loss"][name], r["weights"][name]
            lines.append(markdown.row(str(r["seed"]), label, f"{loss:.4f}", f"{weights:,}"))
    return lines


def _member(member: dict[str, Any], full: dict[str, Any]) -> tuple[str, ...]:
    return (
        f"{member['test_loss']:.4f}",
        f"{member['test_loss'] - full['test_loss']:+.4f}",
        f"{member['kv_bytes']:,.0f}",
        f"{member['kv_bytes'] / full['kv_bytes']:.0%}",
        "; ".join(f"`{p}`" for p in member["patterns"]),
    )


TABLES: dict[str, Callable[[Rows], list[str]]] = {
    "aims": aims_table,
    "layouts": layouts,
    "patterns": patterns,
    "stacking": stacking,
    "contexts": contexts,
    "large": large,
    "front": front,
    "claims": lambda rows: claims_table(rows).splitlines(),
}


def rewritten() -> str:
    """The page with its tables made anew, each between comments with its name."""
    text = PAGE.read_text()
    found = {device: (path.name, read(path)) for device, path in records().items()}
    for name, make in TABLES.items():
        mark, end = f"<!-- {name}: python -m benchmarks.vsla --tables -->\n", f"\n<!-- /{name} -->"
        before, *inside = text.split(mark)
        if len(inside) != 1 or end not in inside[0]:
            raise SystemExit(f"{PAGE.name} has one place for {name}")
        parts = []
        for device, (folder, rows) in found.items():
            what = json.loads((ROOT / "runs" / folder / "manifest.json").read_text())
            title = f"{device} ([record](../runs/{folder}), torch {what['software']['torch']}):"
            parts.append("\n".join([title, "", *make(rows)]))
        text = before + mark + "\n\n".join(parts) + end + inside[0].partition(end)[2]
    return text


def _seconds(value: float | None) -> str:
    if value is None:
        return _NONE
    return f"{value:.2f} s" if value >= 1 else f"{value * 1e3:.1f} ms"


def _milliseconds(seconds: float | None, digits: int) -> str:
    return _NONE if seconds is None else f"{seconds * 1e3:.{digits}f}"


def _megabytes(value: float | None, status: str) -> str:
    return status if value is None else f"{value / 1e6:,.1f}"


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.4f} ± {stdev(values):.4f}" if len(values) > 1 else f"{values[0]:.4f}"
