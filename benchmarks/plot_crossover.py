"""Draw a record of `crossover.py`: test loss against joules, AdamW's runs and CLSO's.

python benchmarks/plot_crossover.py runs/2026-11-22_crossover/crossover.json
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from clso.report.style import side_colour

CLSO, ADAMW = side_colour("clso"), side_colour("adamw")


def joules_to_reach(points: list[tuple[float, float]], loss: float) -> float:
    """Joules at which the lower envelope of (joules, loss) points reaches `loss`; infinite for a
    miss."""
    best, previous = np.inf, None
    for joules, value in sorted(points):
        if value >= best:
            continue
        if value <= loss:
            if previous is None:
                return joules
            share = (previous[1] - loss) / (previous[1] - value)
            return float(
                np.exp(np.log(previous[0]) + share * (np.log(joules) - np.log(previous[0])))
            )
        best, previous = value, (joules, value)
    return float("inf")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("record", type=Path)
    args = parser.parse_args()
    record = json.loads(args.record.read_text())
    adamw = [(r["energy_j"], r["test_loss"]) for r in record["adamw"]]
    clso = [(r["energy_j"], r["test_loss"]) for r in record["clso"]]
    joules, loss = (float(np.median([c[i] for c in clso])) for i in (0, 1))
    crossing, batch = joules_to_reach(adamw, loss), record["adamw_settings"]["batch"]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    envelope, best = [], np.inf
    for point in sorted(adamw):
        if point[1] < best:
            envelope.append(point)
            best = point[1]
    axes.plot(
        *zip(*adamw, strict=True),
        "o",
        color=ADAMW,
        alpha=0.35,
        markersize=4,
        label=f"AdamW at batch {batch}, every run",
    )
    axes.plot(
        *zip(*envelope, strict=True), "-", color=ADAMW, label="AdamW, the best for its joules"
    )
    axes.plot(*zip(*clso, strict=True), "*", color=CLSO, markersize=13, label="CLSO, whole runs")
    axes.axhline(loss, color=CLSO, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"AdamW needs {crossing:,.0f} J\nfor CLSO's loss ({crossing / joules:.1f} times)",
        (crossing, loss), xytext=(12, 18), textcoords="offset points", fontsize=9,
    )  # fmt: skip
    axes.set_xscale("log")
    axes.set_xlabel("joules of a whole run, gross")
    axes.set_ylabel("test loss, nats per token")
    tokens = record["corpus"]["n_tokens"]["train"]
    axes.set_title(
        f"{tokens / 1e6:.2f} M training tokens, {record['hardware']['gpu']['name']}", fontsize=10
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9)
    out = args.record.with_suffix(".png")
    figure.savefig(out, dpi=150)
    print(f"CLSO {loss:.3f} at {joules:.0f} J; AdamW reaches it at {crossing:.0f} J; wrote {out}")


if __name__ == "__main__":
    main()
