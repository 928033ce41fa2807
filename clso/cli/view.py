"""What the terminal shows: live progress, the summary of a run, comparison tables."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from clso.cli.console import console
from clso.cli.output import plain
from clso.run.criteria import verdict_sentence
from clso.search.generations import Listener

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.energy.ledger import Ledger
    from clso.search.generations import Search

_SHOWN = (
    *("valid_loss", "test_loss", "valid_accuracy", "test_accuracy", "chance"),
    *("test_success", "test_spl", "plan_ratio"),
)
_MEASURES = ("test_loss", "test_success")

__all__ = ["baseline_summary", "comparison_table", "run_view", "summary"]


class _LiveView(Listener):
    """A progress bar over the generations and the figures that matter, redrawn at most four times a
    second."""

    def __init__(self, config: RunConfig, console: Console) -> None:
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
        )
        self.task = self.progress.add_task("starting", total=config.gens)
        self.figures = Text()
        self.ledger: Ledger | None = None

    def __rich__(self) -> Group:
        return Group(self.progress, self.figures)

    def started(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def phase(self, name: str) -> None:
        self.progress.update(self.task, description=plain(name))

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self.progress.update(self.task, completed=row["generation"])
        counts = search.counts
        self.figures = Text.assemble(
            (f"{_noun(search)} ", "dim"),
            (_value(search, row), "bold green"),
            ("   evaluated ", "dim"),
            f"{counts['evaluated']:,}",
            ("   screened out ", "dim"),
            f"{counts['screened_out']:,}",
            ("   cached ", "dim"),
            f"{counts['cached']:,}",
            *(
                (("   tokens ", "dim"), f"{search.tokens_forward:,}")
                if _is_language(search)
                else ()
            ),
            ("   joules ", "dim"),
            self._joules(),
        )

    def _joules(self) -> str:
        if self.ledger is None:
            return "-"
        if self.ledger.meter.reason:
            return "not measured"
        spent_j = self.ledger.total()["energy_j"]
        return "-" if spent_j is None else f"{spent_j:,.0f}"


def _is_language(search: Search) -> bool:
    # with torch, which a finished run is shown without
    from clso.space.language import (
        LanguageModelSpace,
    )

    return isinstance(search.space, LanguageModelSpace)


def _noun(search: Search) -> str:
    return "best true loss" if _is_language(search) else "best fitness"


def _value(search: Search, row: dict[str, Any]) -> str:
    return f"{row['best']:.4f}" if _is_language(search) else f"{row['best']:.6g}"


class _PlainView(Listener):
    """One line a phase and ten lines a search, for logs and pipes."""

    def __init__(self, config: RunConfig, console: Console) -> None:
        self.console, self.every = console, max(1, config.gens // 10)
        self.gens = config.gens

    def phase(self, name: str) -> None:
        self.console.print(name)

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        if row["generation"] % self.every == 0 or row["generation"] == 1:
            self.console.print(
                f"  generation {row['generation']}/{self.gens}  {_noun(search)} {_value(search, row)}  "
                f"evaluated {search.counts['evaluated']}  screened out {search.counts['screened_out']}"
            )


@contextmanager
def run_view(config: RunConfig, *, quiet: bool) -> Iterator[Listener]:
    """A listener that draws on stderr; none with `quiet`."""
    err = console(stderr=True)
    if quiet:
        yield Listener()
    elif not err.is_terminal:
        yield _PlainView(config, err)
    else:
        view = _LiveView(config, err)
        with Live(view, console=err, refresh_per_second=4, transient=True):
            yield view


def summary(folder: Path, result: dict[str, Any]) -> None:
    """The table at the end of a run, or of a baseline."""
    if "baseline" in result:
        return baseline_summary(folder, result["baseline"], result)
    best, counts = result["best"], result["counts"]
    table = Table(title="result", show_header=False, title_justify="left")
    if "test_loss" in best:
        table.add_row(
            "test loss", f"{best['test_loss']:.4f} nats per token (re-measured from disk)"
        )
        table.add_row("valid loss", f"{best['valid_loss']:.4f} nats per token")
        table.add_row("log(vocabulary)", f"{result['log_vocabulary']:.4f} (knowing nothing)")
    else:
        optimum = result.get("optimum")
        known = "" if optimum is None else f" (the optimum is {optimum:.6g})"
        table.add_row("best fitness", f"{best['fitness']:.6g}{known}")
    if "test_success" in best:
        table.add_row("test success", f"{best['test_success']:.4f} (re-measured from disk)")
    if "test_accuracy" in best:
        table.add_row("test accuracy", f"{best['test_accuracy']:.4f} (re-measured from disk)")
    if "front" in result:
        table.add_row("front", _front(result))
    table.add_row(
        "candidates",
        f"{counts['evaluated']:,} evaluated, {counts['screened_out']:,} screened out, {counts['cached']:,} cached",
    )
    if "test_loss" in best:
        table.add_row("tokens forward", f"{result['tokens_forward']:,}")
    table.add_row("surrogate", _surrogate(result["surrogate"]))
    table.add_row("energy", _energy(result))
    times = result["time_s"]
    table.add_row(
        "time", ", ".join(f"{name} {t:.1f} s" for name, t in times.items() if name != "total")
    )
    out = console()
    out.print(table)
    out.print(f"run folder: {folder}", soft_wrap=True)


def baseline_summary(folder: Path, name: str, result: dict[str, Any]) -> None:
    """The table at the end of a baseline."""
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


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.1f}"


def _energy(result: dict[str, Any]) -> str:
    energy = result["energy_j"]
    if energy is None:
        return f"not measured: {result['energy_reason']}"
    net = energy["net"]["total"]
    return (
        f"{energy['gross']['total']:,.1f} J gross"
        + (f", {net:,.1f} J net" if net is not None else "")
        + (f" ({energy['source']})")
    )


def _front(result: dict[str, Any]) -> str:
    """Its size, and its member with the least of each objective."""
    front, names = [member["values"] for member in result["front"]], result["objectives"]
    ends = {name: min(front, key=lambda values: values[name]) for name in names}
    lines = [
        f"least {name}: {', '.join(f'{k} {v:.6g}' for k, v in values.items())}"
        for name, values in ends.items()
    ]
    volume = result["hypervolume"]
    size = "beyond a float's range" if volume is None else f"{volume:.4g}"
    return "\n".join([f"{len(front):,} genomes, hypervolume {size}", *lines])


def _surrogate(summary: dict[str, Any]) -> str:
    audit = summary["audit"]
    if summary["name"] == "none":
        return "none"
    if audit["disabled"]:
        return f"{summary['name']}, switched off: {audit['reason']}"
    if audit["rank_correlation"] is None:
        return f"{summary['name']}, not yet audited"
    state = "trusted" if summary["trusted"] else "not trusted"
    rho = f"rank correlation {audit['rank_correlation']:.2f} on its last audits ({audit['n']})"
    return f"{summary['name']}, {state}: {rho}"
