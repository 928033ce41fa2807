"""The table of docs/grown.md on neurons, from the committed records of `benchmarks/neurons.py`: `runs/*_neurons/*.json`."""

from __future__ import annotations

import json
from pathlib import Path

__all__ = ["curves"]

ROOT = Path(__file__).parents[1]


def curves() -> str:
    """Test loss against the number of neurons, a row each."""
    lines = [
        "| record | layers x d | code, name, match | test tokens | neurons | test loss | less than with none |",
        "|---|---|---|---|---|---|---|",
    ]
    for path in sorted(ROOT.glob("runs/*_neurons/*.json")):
        record = json.loads(path.read_text())
        sizes, curve = record["sizes"], record["curve"]
        losses = {int(n): loss for n, loss in curve["test_loss"].items()}
        start = f"| {path.stem} | {sizes['n_layers']} x {sizes['d_model']} "
        start += "| " + ", ".join(str(n) for n in curve["layout"].values())
        start += f" | {curve['n_test_tokens']:,} "
        for n, loss in sorted(losses.items()):
            lines.append(f"{start}| {n:,} | {loss:.3f} | {losses[0] - loss:.3f} |")
    return "\n".join(lines) if len(lines) > 2 else "No record yet."
