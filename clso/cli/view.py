"""What the terminal shows of a finished run: what was found, comparison tables."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.columns import Columns
from rich.console import Group
from rich.padding import Padding
from rich.table import Column, Table
from rich.text import Text

from clso.cli.console import console
from clso.cli.output import plain
from clso.run.criteria import verdict_sentence
from clso.screening.config import GENERATIONAL

_SHOWN = (
    *("valid_loss", "test_loss", "valid_accuracy", "test_accuracy", "chance"),
    *("test_success", "test_spl", "plan_ratio"),
)
_MEASURES = ("test_loss", "test_success")
_MAX_GENES = 24  # of a winner, on a terminal

__all__ = ["baseline_summary", "comparison_table", "next_steps", "sides_table", "summary"]


def summary(folder: Path, result: dict[str, Any], *, next_steps: Iterable[str] = ()) -> None:
    """What a run found, or a baseline; `next_steps` are commands to copy."""
    if "baseline" in result:
        return baseline_summary(folder, result["baseline"], result)
    out = console()
    out.print(_outcome(folder, result))
    out.print(_winner(result))
    out.print(f"run folder: {folder}", soft_wrap=True)
    steps = list(next_steps)
    if steps:
        out.print("next:")
    for step in steps:
        out.print(f"  {step}", soft_wrap=True)


def next_steps(folder: Path, result: dict[str, Any], known: Collection[str]) -> list[str]:
    """Commands that make something of a finished run, of those that are `known`."""
    run = shlex.quote(str(folder))
    more = 2 * int(result["counts"]["generations"])
    steps = {"report": f"clso report {run} --html {shlex.quote(str(folder / 'report.html'))}"}
    if "test_loss" in result["best"] or "test_success" in result["best"]:
        steps["evaluate"] = f"clso evaluate {run}"
    if "test_loss" in result["best"]:
        steps["generate"] = f'clso generate {run} "Once upon a time"'
    steps["resume"] = f"clso resume {run} --gens {more}"
    return [step for name, step in steps.items() if name in known]


def _outcome(folder: Path, result: dict[str, Any]) -> Table:
    best, counts = result["best"], result["counts"]
    table = Table(title="result", show_header=False, title_justify="left")
    for name, text in _measured(folder, result):
        table.add_row(name, text)
    if "front" in result:
        table.add_row("front", _front(result))
    parts = (("evaluated", "evaluated"), ("failed", "failed"), ("screened_out", "screened out"))
    shown = [
        f"{counts[key]:,} {word}" for key, word in (*parts, ("cached", "cached")) if counts.get(key)
    ]
    table.add_row("candidates", f"{', '.join(shown)}, in {counts['generations']:,} generations")
    if result.get("failures"):
        table.add_row(
            "failed", "\n".join(f"{f['n']:,} x {f['reason']}" for f in result["failures"])
        )
    if "test_loss" in best:
        table.add_row("tokens forward", f"{result['tokens_forward']:,}")
    table.add_row("surrogate", _surrogate(result["surrogate"]))
    table.add_row("energy", _energy(result))
    times = {name: t for name, t in result["time_s"].items() if name != "total"}
    spent = ", ".join(f"{name} {t:.1f} s" for name, t in times.items() if t >= 0.05)
    table.add_row("time", f"{sum(times.values()):.1f} s" + (f": {spent}" if spent else ""))
    return table


def _measured(folder: Path, result: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """What was measured of the winner, and on what."""
    best = result["best"]
    if "test_loss" in best:
        data = _data(folder)
        n = (
            f"{best['n_test_tokens']:,} tokens that no selection saw"
            if "n_test_tokens" in best
            else ""
        )
        yield (
            "test loss",
            f"{best['test_loss']:.4f} nats per token on test of {data}: {n} (re-measured from disk)",
        )
        yield (
            "valid loss",
            f"{best['valid_loss']:.4f} nats per token on valid, which chose the winner",
        )
        yield "log(vocabulary)", f"{result['log_vocabulary']:.4f} nats per token: knowing nothing"
    else:
        measure = result.get("measure", {"name": "fitness", "unit": ""})
        value = best.get("values", {}).get(measure["name"], best["fitness"])
        optimum = result.get("optimum")
        known = "" if optimum is None else f" (the optimum is {optimum:.6g})"
        yield f"best {measure['name']}", f"{value:.6g} {measure['unit']}".rstrip() + known
    for name in ("test_success", "test_accuracy"):
        if name in best:
            yield name.replace("_", " "), f"{best[name]:.4f} (re-measured from disk)"


def _data(folder: Path) -> str:
    from clso.run.folder import RunFolder

    return RunFolder.open(folder).config.data


def _winner(result: dict[str, Any]) -> Group:
    """The winner's genes by name, but those that make no difference."""
    best = result["best"]
    off = best.get("inactive", [])
    shown = [f"{name}: {label}" for name, label in best["alleles"].items() if name not in off]
    parts: list[Any] = [Text("winner")]
    cells = [Text(plain(text)) for text in shown[:_MAX_GENES]]
    parts.append(Padding(Columns(cells, padding=(0, 3), column_first=True), (0, 0, 0, 2)))
    if len(shown) > _MAX_GENES:
        parts.append(
            Text(f"  and {len(shown) - _MAX_GENES:,} more, in best.alleles of result.json")
        )
    if off:
        parts.append(Text(plain(f"  switched off, and so without effect: {', '.join(off)}")))
    return Group(*parts)


def baseline_summary(folder: Path, name: str, result: dict[str, Any]) -> None:
    """The table at the end of a baseline."""
    if "measure" in result and "fitness" in result["best"]:
        table = Table(title=f"baseline {name}", show_header=False, title_justify="left")
        for label, text in _measured(folder, result):
            table.add_row(label, text)
        _baseline_end(table, folder, result)
        return
    named = {
        k: v for k, v in result.items() if isinstance(v, dict) and any(m in v for m in _MEASURES)
    }
    shown = [key for key in _SHOWN if any(key in value for value in named.values())]
    table = Table(
        "model",
        *(key.replace("_", " ") for key in shown),
        title=f"baseline {name}",
        title_justify="left",
    )
    for key, value in named.items():
        found = (value.get(column) for column in shown)
        table.add_row(key, *("" if number is None else f"{number:.4f}" for number in found))
    _baseline_end(table, folder, result)


def _baseline_end(table: Table, folder: Path, result: dict[str, Any]) -> None:
    out = console()
    out.print(table)
    out.print(f"energy: {_energy(result)}; time: {result['time_s']['total']:.1f} s")
    out.print(f"run folder: {folder}", soft_wrap=True)


def comparison_table(found: dict[str, Any]) -> None:
    """The table and verdicts of `clso compare`."""
    table = Table("", "valid loss", "test loss", "joules", "net joules", "seconds", "device")
    for row in found["rows"]:
        table.add_row(
            row["name"],
            f"{row['valid_loss']:.4f}",
            f"{row['test_loss']:.4f}",
            _number(row["energy_j"]),
            _number(row["energy_net_j"]),
            f"{row['time_s']:.2f}",
            row["device"],
        )
    out = console()
    out.print(table)
    for verdict in found["verdicts"]:
        out.print(verdict_sentence(verdict))


def sides_table(found: dict[str, Any]) -> None:
    """The table of `clso compare` for searches, and what it says of their differences."""
    more = "more" if found["direction"] == "max" else "less"
    name = plain(found["measure"])
    first = Column("", overflow="fold", min_width=14)
    table = Table(first, "seeds", name, "evaluations", "joules", "seconds")
    for side in found["sides"]:
        n = side["evaluations"]
        table.add_row(
            plain(side["name"]),
            f"{len(side['seeds'])}",
            f"{side['best']:.6g}",
            "" if n is None else f"{n:,.0f}",
            _number(side["energy_j"]),
            f"{side['time_s']:.2f}",
        )
    out = console()
    out.print(table)
    devices = dict.fromkeys(plain(side["device"]) for side in found["sides"])
    where = f" They ran on different devices: {'; '.join(devices)}." if len(devices) > 1 else ""
    out.print(f"Means over seeds; of {name} {more} is better.{where}", markup=False)
    for d in found["differences"]:
        text = f"{plain(d['side'])} minus {plain(d['against'])}: {d['difference']:+.6g}"
        if d["interval"] is None:
            text += "; one seed a side says nothing of chance"
        else:
            low, high = d["interval"]
            pairs = "paired by seed" if d["paired_by_seed"] else "Welch"
            known = {True: "better", False: "worse", None: "not told apart"}[d["better"]]
            text += f", 95 % interval {low:+.6g} to {high:+.6g} ({pairs}): {known}"
        out.print(text, markup=False, soft_wrap=True)


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.1f}"


def _energy(result: dict[str, Any]) -> str:
    energy = result["energy_j"]
    if energy is None:
        return "not measured (clso doctor explains)"
    net = energy["net"]["total"]
    return (
        f"{energy['gross']['total']:,.1f} J gross"
        + (f", {net:,.1f} J net" if net is not None else "")
        + (f" ({energy['source']})")
    )


def _front(result: dict[str, Any]) -> str:
    """Its size, and its best member by each objective."""
    front, names = [member["values"] for member in result["front"]], result["objectives"]
    lines = []
    for name, direction in zip(names, result.get("directions", ["min"] * len(names)), strict=True):
        word, best = ("most", max) if direction == "max" else ("least", min)
        values = best(front, key=lambda values: values[name])
        lines.append(f"{word} {name}: {', '.join(f'{k} {v:.6g}' for k, v in values.items())}")
    volume = result["hypervolume"]
    size = "beyond a float's range" if volume is None else f"{volume:.4g}"
    return "\n".join([f"{len(front):,} genomes, hypervolume {size}", *lines])


def _surrogate(summary: dict[str, Any]) -> str:
    audit = summary["audit"]
    if summary["name"] == "none":
        return "none"
    if audit["disabled"]:
        return f"{summary['name']}, switched off: {audit['reason']}"
    rho, n = audit["rank_correlation"], audit["n"]
    if summary["trusted"]:
        return f"{summary['name']}, trusted: rank correlation {rho:.2f} on its last audits ({n})"
    rules = GENERATIONAL
    if rho is None or n < rules.min_audits:
        why = f"too few audits yet ({n} of {rules.min_audits})"
    elif rho < rules.trust_threshold:
        why = f"rank correlation {rho:.2f} on its last audits ({n}), {rules.trust_threshold} needed"
    else:
        why = f"rank correlation {rho:.2f} on {n} audits, which chance gives too easily"
    return f"{summary['name']}, not trusted: {why}"
