"""The tables of README.md and docs/results.md, from the committed records."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import median
from typing import Any

from clso.prove.report import headline_table

__all__ = [
    "FIRST_PROOF",
    "LARGER_PROOF",
    "PROOF",
    "cheapest_in_sweep",
    "headline",
    "losses",
    "proof_rows",
    "record",
    "scale",
]

RUNS = Path(__file__).parents[1] / "runs"
PROOF, FIRST_PROOF = "2026-11-29_ref-2x128-h200", "2026-11-22_proof-h100"
"""At the reference size: the newest, with the widest sweep; and the first, with the protocol's long windows."""
LARGER_PROOF = "2026-11-29_english-mix"


def record(path: str) -> Any:
    """What a JSON file below runs/ holds."""
    return json.loads((RUNS / path).read_text())


def proof_rows(proof: str = PROOF) -> dict[str, dict[str, Any]]:
    """The rows of an energy proof, by key."""
    lines = (RUNS / proof / "records.jsonl").read_text().splitlines()
    return {row["key"]: row for row in map(json.loads, lines)}


def cheapest_in_sweep(proof: str, loss: float) -> tuple[float, float, str]:
    """Joules of the cheapest training of a proof's sweep up to a step at which valid has at most this
    loss, a training's joules shared out by its steps; the loss there, and the row's key."""
    points = [
        (row["energy_j"] * step / row["steps"], found, key)
        for key, row in proof_rows(proof).items()
        if row["type"] == "sweep"
        for step, found in row["curve"]
        if found <= loss
    ]
    return min(points)


def headline() -> str:
    """Both sides of the energy proof, and the ratio of their joules."""
    return headline_table(record(f"{PROOF}/verdict.json")).strip()


def losses() -> str:
    """Test losses on the proof's text, the worst first but for the two of evolved models."""
    verdict, rows = record(f"{PROOF}/verdict.json"), proof_rows()
    grams = rows["control/ngram/0"]["models"]
    found = rows["control/random-search/0"]["models"]["random-search"]["test_loss"]
    pointer = [
        row["evolved"] for row in record("2026-11-22_evolution-matters/gpt2-pointer.json")["rows"]
    ]
    ablation = record("2026-11-22_ablation/ablation.json")["rank"]["47"]
    n_seeds = len(verdict["clso"]["test_loss_by_seed"])
    vocab_size = record(f"{PROOF}/manifest.json")["corpus"]["vocab_size"]
    of_proof, one_seed = f"proof, median of {n_seeds} seeds", "proof, 1 seed"
    spread = f"median of {len(pointer)} seeds ({min(pointer):.3f} to {max(pointer):.3f})"
    table = [
        ("model", "test loss", "record"),
        ("---", "---", "---"),
        ("ln(vocabulary)", f"{math.log(vocab_size):.3f}", ""),
        (
            "evolved from random crystals (control)",
            f"{rows['model/random-crystals/0']['test_loss']:.3f}",
            one_seed,
        ),
        (
            "Kneser-Ney bigram / trigram",
            f"{grams['kn2']['test_loss']:.3f} / {grams['kn3']['test_loss']:.3f}",
            "proof",
        ),
        ("strongest AdamW", f"{verdict['adamw_best']['test_loss']:.3f}", of_proof),
        (
            "grown bigram codes of rank 47 alone",
            f"{ablation:.3f}",
            "`benchmarks/ablation.py`, [record](../runs/2026-11-22_ablation/ablation.json)",
        ),
        ("random search in the grown space, as many evaluations", f"{found:.3f}", one_seed),
        ("**evolved, exact GPT-2**", f"**{verdict['clso']['test_loss']:.3f}**", of_proof),
        (
            "**evolved, `gpt2-pointer`** (not a GPT-2: a pointer is mixed in)",
            f"**{median(pointer):.3f}**",
            f"[record](../runs/2026-11-22_evolution-matters/gpt2-pointer.json), {spread}",
        ),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in table)


def scale() -> str:
    """Whole runs of both sides by the size of the model."""
    head = (
        "width x layers",
        "parameters",
        "CLSO, test loss",
        "AdamW, test loss",
        "CLSO, J",
        "AdamW, J",
        "ratio",
    )
    lines = [f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
    sizes = record("2026-11-22_scale/scale.json")["sizes"]
    for row in sorted(sizes, key=lambda row: (row["d_model"], row["n_layers"])):
        own, other = row["clso"], row["adamw"]
        cells = (
            f"{row['d_model']} x {row['n_layers']}",
            f"{row['n_parameters'] / 1e6:.1f} M",
            f"{own['test_loss']:.3f}",
            f"{other['test_loss']:.3f}",
            f"{own['energy_j']:.0f}",
            f"{other['energy_j']:.0f}",
            f"{row['energy_ratio']:.3f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
