"""The tables of docs/memory.md, from the committed records of `benchmarks/memory.py`: `runs/*memory*/*.json`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.evolution_matters import interval
from benchmarks.results import LARGER_PROOF

__all__ = [
    "adamw",
    "disk",
    "experts",
    "genome",
    "orders",
    "phases",
    "pruning",
    "records",
    "runs",
    "samples",
    "search",
    "sizes",
]

ROOT = Path(__file__).parents[1]
_NONE = "No record yet."
_PHASES = ("library", "search", "validate", "test")


def records() -> dict[str, dict[str, Any]]:
    """By name, e.g. "english-mix on H100", those that are there."""
    found = sorted(ROOT.glob("runs/*_memory*/*.json"))
    return {path.stem: json.loads(path.read_text()) for path in found}


def runs() -> str:
    """Whole runs: loss, joules, seconds by phase, bytes on disk."""
    rows = [
        [
            name,
            run,
            f"{row['best']['test_loss']:.3f}",
            _joules(row["energy_j"]),
            *(f"{row['time_s'].get(phase, 0):.1f}" for phase in _PHASES),
            f"{sum(row['n_bytes'].values()) / 1e6:.0f}",
        ]
        for name, record in records().items()
        for run, row in record.get("runs", {}).items()
    ]
    head = ["record", "space and seed", "test loss", "J", *(f"{p} s" for p in _PHASES), "MB"]
    return _table(head, rows)


def disk() -> str:
    """The hand-set genome's files: bytes, and seconds to write them, read them and make the tables."""
    rows = [
        [name, f"{sum(row['n_bytes'].values()) / 1e6:.0f}"]
        + [f"{row[key]:.2f}" for key in ("write_s", "read_s", "tables_s")]
        for name, record in records().items()
        for row in record.get("disk", {}).values()
    ]
    return _table(["record", "MB", "write s", "read s", "tables s"], rows)


def experts() -> str:
    """Test loss of the hand-set genome without each expert."""
    rows = [
        [name, left_out, f"{row['test_loss']:.3f}", f"{row['n_bytes'] / 1e6:.0f}"]
        for name, record in records().items()
        for left_out, row in record.get("experts", {}).items()
    ]
    return _table(["record", "left out", "test loss", "MB"], rows)


def orders() -> str:
    """Test loss and bytes of the hand-set genome by the highest order that is counted."""
    return _measured("orders", "highest order")


def sizes() -> str:
    """Test loss and bytes by how much of the statistics text is counted."""
    return _measured("sizes", "tokens counted")


def pruning() -> str:
    """Test loss against bytes under cut-offs and entropy thresholds, most bytes first."""
    return _measured("pruning", "what is dropped", by_bytes=True)


def _measured(part: str, what: str, *, by_bytes: bool = False) -> str:
    rows = []
    for name, record in records().items():
        found = list(record.get(part, {}).items())
        if by_bytes:
            found.sort(key=lambda item: -item[1]["n_bytes"])
        rows += [
            [name, _grouped(row), f"{m['test_loss']:.3f}", f"{m['n_bytes'] / 1e6:.1f}"]
            for row, m in found
        ]
    return _table(["record", what, "test loss", "MB"], rows)


def phases() -> str:
    """Joules of whole runs by phase, gross; what is charged is their sum without test and data."""
    rows = []
    for name, record in records().items():
        for run, row in record.get("runs", {}).items():
            if row["energy_j"]:
                gross, net = row["energy_j"]["gross"], row["energy_j"]["net"]
                cells = [f"{gross.get(phase) or 0:.0f}" for phase in _PHASES]
                total = f"{net['total']:.0f}" if net and net.get("total") else "-"
                rows.append([name, run, *cells, f"{gross['total']:.0f}", total])
    head = ["record", "space and seed", *(f"{p} J" for p in _PHASES), "charged J", "net of idle"]
    return _table(head, rows)


def genome() -> str:
    """The memory's genes of each record's best run by valid loss, in words."""
    out = []
    for name, record in records().items():
        runs = [r for k, r in record.get("runs", {}).items() if k.startswith("gpt2-memory ")]
        if runs:
            best = min(runs, key=lambda row: row["best"]["valid_loss"])["best"]
            out.append(f"- {name} (test loss {best['test_loss']:.3f}): {_words(best['alleles'])}.")
    return "\n".join(out) or _NONE


def _words(alleles: dict[str, str]) -> str:
    a = alleles
    low, high = a["memory.entropy.low"], a["memory.entropy.high"]
    dropped = [f"entries below counts {a['memory.cut'].replace(' ', ', ')} at orders 2, 3 and on"]
    if a["memory.cut"] == "1 1 1":
        dropped = []
    for which, threshold in (("2", low), ("3 and on", high)):
        if threshold != "0":
            dropped.append(f"at order {which} entries worth less than {threshold} nats a token")
    parts = [
        f"n-grams to order {a['memory.order']}, their discounts {a['memory.discount']} of the estimates",
        f"dropped: {'; '.join(dropped)}" if dropped else "nothing dropped",
        f"{a['memory.skips']} skip contexts (followers seen {a['memory.skips.cut']} times at least)",
        f"{a['memory.classes']} contexts with classes",
        "explicit counts speak again" if a["memory.explicit"] == "on" else "explicit counts once",
        f"{a['past.shares']} decayed shares of the block (decay {a['past.decay']}, rarity {a['past.rarity']})",
        f"{a['past.matches']} lengths of matches",
        f"{a['buckets']} buckets",
    ]
    if a["memory.grown"] == "on":
        parts.append(f"a grown GPT-2 ({a['codes']}, context {a['context']})")
    else:
        parts.append("no grown GPT-2")
    return "; ".join(parts)


def adamw() -> str:
    """The proof at the larger text: both sides in windows, what AdamW needs for CLSO's loss, and what is neither."""
    path = ROOT / "runs" / LARGER_PROOF / "verdict.json"
    if not path.exists():
        return _NONE
    verdict = json.loads(path.read_text())
    (same,) = (row for row in verdict["targets"] if row["target"] == "CLSO")
    own = verdict["clso"]["energy_j"]

    def row(name: str, valid: float, test: float | None, joules: float | None) -> list[str]:
        losses = [f"{valid:.3f}", "" if test is None else f"{test:.3f}"]
        if joules is None:
            return [name, *losses, "not measured", ""]
        return [name, *losses, f"{joules:,.0f}", f"{own / joules:.3f}"]

    sides = {
        "CLSO, whole run": verdict["clso"],
        "reference AdamW": verdict["adamw_reference"],
        f"strongest AdamW: {verdict['adamw_best']['plan']}": verdict["adamw_best"],
    }
    rows = [row(n, s["valid_loss"], s["test_loss"], s["energy_j"]) for n, s in sides.items()]
    rows.insert(
        2, row("AdamW, the cheapest at CLSO's loss", same["valid_loss"], None, same["adamw"])
    )
    rows += [
        row(c["name"], c["valid_loss"], c["test_loss"], c["energy_j"])
        for c in verdict["controls"]
        if c["name"] in ("kn3", "memory", "random-search") or "AdamW" in c["name"]
    ]
    return _table(["side", "valid loss", "test loss", "J, gross", "CLSO's J over these"], rows)


def samples() -> str:
    """What the winners of both spaces write after the same beginning."""
    out = []
    for name, record in records().items():
        for space, row in record.get("samples", {}).items():
            prompt, text = (" ".join(row[key].split()) for key in ("prompt", "text"))
            begin = f"{name}, `{space}`, temperature {row['temperature']:g}"
            out.append(f"{begin}:\n\n```text\n{prompt} | {text}\n```")
    return "\n\n".join(out) or _NONE


def search() -> str:
    """Evolution against random search that spends as much: means over pairs and a bootstrap interval."""
    rows = []
    for name, record in records().items():
        pairs = [row for key, row in record.get("search", {}).items() if key.isdigit()]
        if not pairs:
            continue
        sides = [[row[side] for row in pairs] for side in ("evolved", "random_search")]
        found = interval([a["test_loss"] - b["test_loss"] for a, b in zip(*sides, strict=True)])
        cells = [f"{fmean(r['test_loss'] for r in side):.4f}" for side in sides]
        spent = [f"{fmean(r['spent'] for r in side):.3g} {pairs[0]['unit']}" for side in sides]
        n = fmean(row["evaluations"] for row in sides[1])
        difference = f"{found['mean']:+.4f} ({found['low']:+.4f} to {found['high']:+.4f})"
        rows.append([name, str(len(pairs)), *cells, *spent, f"{n:,.0f}", difference])
    head = ["record", "pairs", "evolved, test loss", "random search", "evolved spent",
            "random search spent", "its evaluations", "evolved minus random (95 %)"]  # fmt: skip
    return _table(head, rows)


def _grouped(name: str) -> str:
    return f"{int(name):,}" if name.isdigit() else name


def _joules(energy: dict[str, Any] | None) -> str:
    total = energy["gross"]["total"] if energy else None
    return "not measured" if total is None else f"{total:.0f}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    if not rows:
        return _NONE
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *rows])
