"""A run as it goes: a view that is redrawn on a terminal or in a notebook, lines anywhere else.

with live_view(config) as listener:
    result = evolve(config, Path("run"), listener=listener)
"""

from __future__ import annotations

import importlib.util
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from clso.cli.console import console
from clso.cli.output import plain
from clso.search.generations import Listener
from clso.space.measures import turned

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.energy.ledger import Ledger
    from clso.search.generations import Search

__all__ = ["live_view"]


class _View(Listener):
    """What both views know: when the search began, and how fast it goes."""

    def __init__(self, config: RunConfig, out: Console) -> None:
        self.gens, self.out = config.gens, out
        self._begin_s = 0.0
        self._before: tuple[int, int] | None = None  # generations and evaluations of earlier

    def phase(self, name: str) -> None:
        self._begin_s = time.monotonic()

    def pace(self, search: Search, row: dict[str, Any]) -> tuple[float, float]:
        """Evaluations a second, and seconds that are left if all generations are needed."""
        evaluated = search.counts["evaluated"]
        if self._before is None:
            self._before = (row["generation"] - 1, evaluated - row["evaluated"])
        spent_s = max(time.monotonic() - self._begin_s, 1e-9)
        rate = (evaluated - self._before[1]) / spent_s
        per_generation_s = spent_s / max(row["generation"] - self._before[0], 1)
        return rate, (self.gens - row["generation"]) * per_generation_s


class _LiveView(_View):
    """A progress bar over the generations and the figures that matter, redrawn at most four times a
    second."""

    def __init__(self, config: RunConfig, out: Console) -> None:
        super().__init__(config, out)
        self.progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}", markup=False),
            console=out,
        )
        self.task = self.progress.add_task("starting", total=config.gens, left="")
        self.lines: list[Text] = []
        self.ledger: Ledger | None = None

    def __rich__(self) -> Group:
        return Group(self.progress, *self.lines)

    def started(self, ledger: Ledger) -> None:
        self.ledger = ledger

    def phase(self, name: str) -> None:
        super().phase(name)
        self.progress.update(self.task, description=plain(name), left="")

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        rate, left_s = self.pace(search, row)
        left = f"{_duration(left_s)} left" if row["generation"] < self.gens else ""
        self.progress.update(self.task, completed=row["generation"], left=left)
        counts = search.counts
        figures = {"evaluated": f"{counts['evaluated']:,}"}
        if counts["failed"]:
            figures["failed"] = f"{counts['failed']:,}"
        figures["a second"] = f"{rate:.3g}"
        figures["screened out"] = f"{counts['screened_out']:,}"
        figures["cached"] = f"{counts['cached']:,}"
        if _is_language(search):
            figures["tokens"] = f"{search.tokens_forward:,}"
        if joules := self._joules():
            figures["joules"] = joules
        best = Text.assemble((f"{_noun(search)} ", "dim"), (_value(search, row), "bold green"))
        self.lines = [
            best,
            Text.assemble(
                *(part for k, v in figures.items() for part in ((v, ""), (f" {k}  ", "dim")))
            ),
            _one_line(_configuration(search)),
        ]

    def _joules(self) -> str:
        if self.ledger is None or self.ledger.meter.reason:
            return ""  # the summary says so once
        spent_j = self.ledger.total()["energy_j"]
        return "" if spent_j is None else f"{spent_j:,.0f}"


class _PlainView(_View):
    """One line a phase and ten lines a search, for logs and pipes."""

    def phase(self, name: str) -> None:
        super().phase(name)
        self.out.print(name)

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        rate, left_s = self.pace(search, row)
        every = max(1, self.gens // 10)
        if row["generation"] % every and row["generation"] not in (1, self.gens):
            return
        counts = search.counts
        failed = f", {counts['failed']} failed" if counts["failed"] else ""
        left = f", {_duration(left_s)} left" if row["generation"] < self.gens else ""
        self.out.print(
            f"  generation {row['generation']}/{self.gens}  {_noun(search)} {_value(search, row)}  "
            f"{counts['evaluated']} evaluated{failed}, {counts['screened_out']} screened out, "
            f"{rate:.3g} a second{left}",
            soft_wrap=True,
        )


@contextmanager
def live_view(config: RunConfig, *, quiet: bool = False) -> Iterator[Listener]:
    """A listener for `clso.evolve` that draws on stderr, or below the cell of a notebook; none
    with `quiet`.

    A notebook needs `ipywidgets` for a view that is redrawn; without, it gets lines."""
    if quiet:
        yield Listener()
        return
    out = console(stderr=True)
    has_widgets = out.is_jupyter and importlib.util.find_spec("ipywidgets") is not None
    view = _LiveView(config, out) if out.is_terminal or has_widgets else _PlainView(config, out)
    with _warnings_in_lines(out):
        if isinstance(view, _PlainView):
            yield view
            return
        with Live(view, console=out, refresh_per_second=4, transient=True):
            yield view


@contextmanager
def _warnings_in_lines(out: Console) -> Iterator[None]:
    """Show what an objective warns of as one line each, above the view."""

    def show(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = " ".join(str(message).split())
        where = f"{Path(filename).name}:{lineno}"
        out.print(f"warning: {category.__name__}: {text} ({where})", soft_wrap=True)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def _is_language(search: Search) -> bool:
    # with torch, which a finished run is shown without
    from clso.space.language import LanguageModelSpace

    return isinstance(search.space, LanguageModelSpace)


def _noun(search: Search) -> str:
    name = search.objectives.names[0]
    return f"best {name} on the fitness text" if _is_language(search) else f"best {name}"


def _value(search: Search, row: dict[str, Any]) -> str:
    if _is_language(search):
        return f"{row['best']:.4f}"
    objectives = search.objectives
    value = turned(row["best"], objectives.directions[0])
    return f"{value:.6g} {objectives.unit}".rstrip()


def _configuration(search: Search) -> str:
    """The best candidate so far, in words, without the genes that it has for nothing."""
    best, checked = search.engine.best, search.objectives.checked
    if best is None:
        return ""
    return "  ".join(f"{name} {label}" for name, label in checked.chosen(best.genome).items())


def _one_line(text: str) -> Text:
    return Text(plain(text), style="dim", no_wrap=True, overflow="ellipsis")


def _duration(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"
