"""The tables of Neural State Machines in docs/results.md and docs/nsm.md, from the committed records.

A profile is shown for each of `PROFILES` that is there; verdicts are judged again from its rows. A GPU's
is made, once its kernels have passed their tests there, by

    python -m pytest -q tests/models/test_fused_scans.py
    clso profile simple-nsm advanced-hybrid sequential-hybrid lstm transformer linformer performer rwkv mamba \\
        --lengths 1024,4096,8192,16384,32768 --device cuda --claims --out FOLDER
"""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from benchmarks import markdown
from benchmarks.listops import table as trained_table
from clso.profiling.claims import Judgement, judge
from clso.profiling.folder import read_profile
from clso.profiling.measure import Row
from clso.profiling.run import Profile

__all__ = [
    "PROFILES",
    "by_length",
    "claims",
    "in_c",
    "language",
    "listops",
    "on_cuda",
    "profiles",
    "scans",
    "spent",
    "summary",
]

ROOT = Path(__file__).parents[1]
PROFILES = {"CPU": "2026-11-30_profile-cpu", "H200": "2026-11-30_profile-h200"}
RECURRENCES = ROOT / "runs/2026-11-30_recurrences"
LISTOPS, LANGUAGE = ROOT / "runs/2026-11-22_listops", ROOT / "runs/2026-11-22_nsm"
IN_C = ROOT / "runs/2026-11-29_nsm"
"""Runs since the recurrences are in C, and a counted memory alone."""
TOGETHER = ROOT / "runs/2026-11-30_nsm"
"""Runs since a winner's read-outs are fitted together, and with memory."""
FITTED = ROOT / "runs/2026-11-29_listops"
"""Runs since a task's winner is fitted on all of train."""
_SHORT = {"held": "held", "did not hold": "no", "cannot be tested": "open"}


def profiles() -> dict[str, Profile]:
    """By device, those that are there."""
    found = {device: ROOT / "runs" / name for device, name in PROFILES.items()}
    return {device: read_profile(path) for device, path in found.items() if path.is_dir()}


def verdicts() -> str:
    """Which claims held: those with one verdict on all devices together, the others by device."""
    shown = profiles()
    judged = {
        device: {j.claim: j.verdict for j in judge(profile.rows)}
        for device, profile in shown.items()
    }
    records = " and ".join(f"[{device}](../runs/{PROFILES[device]}/claims.md)" for device in shown)
    by_verdicts: dict[tuple[str, ...], list[str]] = {}
    for claim in next(iter(judged.values())):
        by_verdicts.setdefault(tuple(found[claim] for found in judged.values()), []).append(claim)
    lines = [f"- **The published figures** ({records}; {_what(next(iter(shown.values())))}):"]
    for found, named in sorted(by_verdicts.items(), key=lambda item: (len(set(item[0])), item[0])):
        by_device = "; ".join(
            f"{verdict} on {device}" for device, verdict in zip(shown, found, strict=True)
        )
        verdict = found[0] if len(set(found)) == 1 else by_device
        lines.append(
            f"  - {len(named)} of {sum(map(len, by_verdicts.values()))} {verdict}: {'; '.join(named)}."
        )
    return "\n".join(lines)


def summary() -> str:
    """The verdicts, and ListOps and language in a sentence each."""
    rows = [json.loads(line) for line in (LISTOPS / "listops.jsonl").read_text().splitlines()]
    real = [row for row in rows if not row["control"]]
    trained = (f"{m} {_spread(_of(real, m))}" for m in dict.fromkeys(row["model"] for row in real))
    sizes, shuffled = (
        [row["parameters"] for row in real],
        [r["test_accuracy"] for r in rows if r["control"]],
    )
    evolved, control = (
        [one["best"]["test_accuracy"] for one in _results(folder, library)]
        for folder, library in ((FITTED, "grown"), (LISTOPS / "evolved", "random"))
    )
    loss = {
        library: fmean(one["best"]["test_loss"] for one in _results(folder, library))
        for folder, library in ((TOGETHER, "grown"), (LANGUAGE, "random"))
    }
    grams = {key: found["test_loss"] for key, found in _ngram().items()}
    said = (
        f"- **ListOps**, test accuracy over {len(evolved)} seeds: trained by AdamW at {min(sizes):,} to {max(sizes):,} "
        f"parameters {', '.join(trained)} (labels permuted: {min(shuffled):.3f} to {max(shuffled):.3f}); NSM evolved without "
        f"gradients {_spread(evolved)} (random crystals only: {_spread(control)}). Records: "
        "[trained, control](../runs/2026-11-22_listops), "
        "[evolved](../runs/2026-11-29_listops).",
        f"- **Language**, test loss on the default text: NSM evolved {loss['grown']:.3f}, its random-crystal control "
        f"{loss['random']:.3f}; unigram {grams['unigram']:.3f}, Kneser-Ney bigram {grams['kn2']:.3f} and trigram "
        f"{grams['kn3']:.3f}. Records: [evolved](../runs/2026-11-30_nsm), [control, counts](../runs/2026-11-22_nsm).",
    )
    return "\n".join((verdicts(), *said))


def _of(rows: list[dict[str, Any]], model: str) -> list[float]:
    return [row["test_accuracy"] for row in rows if row["model"] == model]


def _ngram() -> dict[str, dict[str, float]]:
    found = json.loads((LANGUAGE / "ngram" / "result.json").read_text())
    return {key: found[key] for key in ("unigram", "kn2", "kn3")}


def _results(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Of runs of a kind, by seed."""
    return [
        json.loads((path / "result.json").read_text()) for path in sorted(folder.glob(f"{kind}-*"))
    ]


def claims() -> str:
    """Every claim: what was published, and by device what was measured, with the verdict."""
    by_device = {device: judge(profile.rows) for device, profile in profiles().items()}
    first: list[Judgement] = next(iter(by_device.values()))
    lines = markdown.head(
        "claim", "published", *(cell for device in by_device for cell in (device, "held"))
    )
    for i, one in enumerate(first):
        cells = [
            cell
            for judged in by_device.values()
            for cell in (judged[i].measured, _SHORT[judged[i].verdict])
        ]
        lines.append(markdown.row(one.claim, one.published, *cells))
    return "\n".join(lines)


def by_length() -> str:
    """Peak memory and time of a pass, by model and length."""
    out = []
    for device, profile in profiles().items():
        for title, show in (
            ("Peak memory in MB", _memory_mb),
            ("Forward and backward in ms", _time_ms),
        ):
            lengths = profile.settings.lengths
            out += ["", f"{title}, {device}, {_what(profile)}:", ""]
            out += markdown.head("model", *(f"{n:,}" for n in lengths))
            for model in profile.models:
                rows = {r.length: r for r in profile.rows if r.model == model["name"]}
                out.append(markdown.row(model["name"], *(show(rows.get(n)) for n in lengths)))
    return "\n".join(out[1:])


def scans() -> str:
    """Scans of ours beside their libraries', on a GPU."""
    record = json.loads((RECURRENCES / "scans-h200.json").read_text())
    packages = {"mamba": "mamba_ssm", "rwkv": "fla_core"}
    taken = {(row["scan"], row["length"], row["form"]): row["time_s"] for row in record["rows"]}
    lines = markdown.head(
        "scan", "tokens", "ours, ms", "library's, ms", "ours / library's", "library"
    )
    for scan, n in dict.fromkeys((scan, n) for scan, n, _ in taken):
        ours, theirs = (taken[scan, n, form] for form in ("ours", "library"))
        package = packages[scan]
        cells = f"{n:,}", f"{1e3 * ours:.2f}", f"{1e3 * theirs:.2f}", f"{ours / theirs:.2f}"
        lines.append(markdown.row(scan, *cells, f"{package} {record['software'][package]}"))
    return "\n".join(lines)


def in_c() -> str:
    """Forward and backward on a CPU in plain torch and in C, beside the Transformer, all in one run."""
    return _forms("recurrences.json", "in C", "cpu_s", "CPU seconds of one thread", 1)


def on_cuda() -> str:
    """The same on a GPU in plain torch and by kernels."""
    return _forms("recurrences-h200.json", "kernels", "time_s", "ms on an H200", 1000)


def spent() -> str:
    """What a pass takes on a GPU, and what its kernels do of it, by kind."""
    record = json.loads((RECURRENCES / "recurrences-h200.json").read_text())
    # of a model's two forms the fast one is the last
    taken = {(row["model"], row["length"]): row["time_s"] for row in record["rows"]}
    kinds = "recurrence", "attention", "products", "other"
    columns = "model", "tokens", "pass, ms", "kernels", "their time, ms"
    lines = markdown.head(*columns, *(f"{kind}, ms" for kind in kinds))
    for row in record["spent"]:
        name, n, by_kind = row["model"], row["length"], row["by_kind_s"]
        parts = [by_kind.get(kind, 0.0) for kind in kinds]
        cells = f"{n:,}", f"{1e3 * taken[name, n]:.2f}", str(row["kernels"])
        all_ms = (f"{1e3 * value:.2f}" if value else "" for value in (sum(parts), *parts))
        lines.append(markdown.row(name, *cells, *all_ms))
    return "\n".join(lines)


def _forms(name: str, fast: str, key: str, unit: str, factor: int) -> str:
    rows = json.loads((RECURRENCES / name).read_text())["rows"]
    taken = {(row["model"], row["form"], row["length"]): row[key] for row in rows}
    forms = sorted({row["form"] for row in rows}, key=lambda form: form != "torch")
    out = []
    for n in dict.fromkeys(row["length"] for row in rows):
        out += ["", f"At {n:,} tokens, {unit}, and times the Transformer's:", ""]
        out += markdown.head("model", "plain torch", fast, "plain torch", fast)
        peer = taken["transformer", "torch", n]
        for model in dict.fromkeys(row["model"] for row in rows):
            both = [taken.get((model, form, n)) for form in forms]
            digits = 3 if factor == 1 else 1
            cells = ["" if one is None else f"{one * factor:.{digits}f}" for one in both]
            cells += ["" if one is None else f"{one / peer:.2f}" for one in both]
            out.append(markdown.row(model, *cells))
    return "\n".join(out[1:])


def listops() -> str:
    """Trained models, then evolved ones, on ListOps."""
    rows = [json.loads(line) for line in (LISTOPS / "listops.jsonl").read_text().splitlines()]
    out = [trained_table(rows, list(dict.fromkeys(row["model"] for row in rows))), ""]
    out += markdown.head(
        "evolved NSM", "seeds", "test accuracy", "valid accuracy", "CPU seconds of a run"
    )
    for folder, library, name in (
        (FITTED, "grown", "**head and last layer fitted on all of train**"),
        (LISTOPS / "evolved", "grown", "head fitted on 1,024 examples, as it was"),
        (LISTOPS / "evolved", "random", "random crystals only (control)"),
    ):
        found = _results(folder, library)
        best = [one["best"] for one in found]
        cpu_s = fmean(_cpu_s(one) for one in found)
        cells = (_spread([b[key] for b in best]) for key in ("test_accuracy", "valid_accuracy"))
        out.append(markdown.row(name, str(len(found)), *cells, f"{cpu_s:.0f}"))
    return "\n".join(out)


def language() -> str:
    """Evolved language models and counts on the default text, the worst first."""
    names = {"unigram": "unigram", "kn2": "bigram (Kneser-Ney)", "kn3": "trigram (Kneser-Ney)"}
    rows = [
        (found["test_loss"], markdown.row(names[key], f"{found['test_loss']:.3f}", "", ""))
        for key, found in _ngram().items()
    ]
    for folder, kind, name in (
        (LANGUAGE, "random", "`nsm`, random crystals (control)"),
        (LANGUAGE, "grown", "`nsm`, grown, as it was in plain torch"),
        (IN_C, "grown", "`nsm`, grown, as it was with each read-out fitted by itself"),
        (IN_C, "long", "`nsm`, grown, so, with 50 generations"),
        (TOGETHER, "grown", "**`nsm`, grown**"),
        (IN_C, "alone", "counted memory alone (`clso baseline memory`)"),
        (IN_C, "memory", "`nsm-memory`, as it was with each read-out fitted by itself"),
        (TOGETHER, "memory", "**`nsm-memory`**"),
    ):
        runs = _results(folder, kind)
        losses, cpu_s = (
            [one["best"]["test_loss"] for one in runs],
            fmean(_cpu_s(one) for one in runs),
        )
        cells = (
            f"{fmean(losses):.3f}",
            ", ".join(f"{loss:.3f}" for loss in losses),
            f"{cpu_s:.0f}",
        )
        rows.append((fmean(losses), markdown.row(name, *cells)))
    lines = markdown.head("model", "test loss", "by seed", "CPU seconds of a run")
    return "\n".join([*lines, *(line for _, line in sorted(rows, reverse=True))])


def _cpu_s(result: dict[str, Any]) -> float:
    return float(result["cpu_time_s"]["total"])


def _what(profile: Profile) -> str:
    s = profile.settings
    return f"batch {s.batch}, {s.dtype}, {s.n_layers} layers of d = {s.d_model}"


def _memory_mb(row: Row | None) -> str:
    return _shown(row, None if row is None or row.peak_bytes is None else row.peak_bytes / 1e6)


def _time_ms(row: Row | None) -> str:
    if row is None or row.forward_time_s is None or row.backward_time_s is None:
        return _shown(row, None)
    return _shown(row, (row.forward_time_s + row.backward_time_s) * 1e3)


def _shown(row: Row | None, value: float | None) -> str:
    if value is None:
        return "-" if row is None else row.status
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _spread(values: list[float]) -> str:
    return f"{fmean(values):.3f} ± {stdev(values):.3f}"
