"""Loggers beside a run: they hear what its front end hears, and cannot stop it."""

from __future__ import annotations

import importlib.util
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clso import plugins
from clso.errors import MissingDependencyError
from clso.loggers.base import Logger
from clso.search.generations import Listener, Search

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.energy.ledger import Ledger

__all__ = ["load_loggers", "logged"]


def load_loggers(names: Sequence[str]) -> dict[str, type[Logger]]:
    """The loggers by name, each once.

    Raises
    ------
    PluginError
        A name that no logger has, or what is no `Logger`.
    MissingDependencyError
        A logger whose library is not installed.
    """
    found: dict[str, type[Logger]] = {}
    for name in names:
        kind: type[Logger] = plugins.load("loggers", name).subclass_of(Logger)
        if kind.requires and importlib.util.find_spec(kind.requires) is None:
            raise MissingDependencyError(
                f"the logger {name!r} needs {kind.requires}",
                remedy=f"Run: pip install 'clso[{kind.extra}]'" if kind.extra else "Install it.",
            )
        found[name] = kind
    return found


@contextmanager
def logged(
    listener: Listener, kinds: Mapping[str, type[Logger]], folder: Path, config: RunConfig
) -> Iterator[Listener]:
    """A listener for `clso.evolve` that tells `listener` and loggers of these kinds; they are closed
    at the end. A logger that raises is left out from there on, with one warning."""
    both = _Logged(listener, kinds, folder, config) if kinds else None
    try:
        yield both or listener
    finally:
        if both is not None:
            both.close()


class _Logged(Listener):
    def __init__(
        self,
        listener: Listener,
        kinds: Mapping[str, type[Logger]],
        folder: Path,
        config: RunConfig,
    ) -> None:
        self._listener, self._kinds, self._folder = listener, kinds, folder
        self._config = asdict(config)
        self._loggers: dict[str, Logger] | None = None

    def started(self, ledger: Ledger) -> None:
        self._listener.started(ledger)

    def phase(self, name: str) -> None:
        self._listener.phase(name)

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self._listener.generation(search, row)
        if self._loggers is None:  # a run without a generation leaves nothing, here and elsewhere
            self._loggers = {}
            for name, kind in self._kinds.items():
                self._guarded(name, partial(self._open, name, kind))
        values = generation_values(search, row)
        self._tell(lambda logger: logger.values(row["generation"], values))

    def finished(self, result: dict[str, Any]) -> None:
        self._listener.finished(result)
        best = result["best"]
        off = best.get("inactive", ())
        alleles = {str(k): str(v) for k, v in best["alleles"].items() if k not in off}
        self._tell(lambda logger: logger.winner(final_values(result), alleles))

    def close(self) -> None:
        self._tell(lambda logger: logger.close())
        self._loggers = {}

    def _open(self, name: str, kind: type[Logger]) -> None:
        assert self._loggers is not None
        self._loggers[name] = kind(self._folder, self._config)

    def _tell(self, what: Callable[[Logger], None]) -> None:
        for name, logger in list((self._loggers or {}).items()):
            self._guarded(name, partial(what, logger))

    def _guarded(self, name: str, call: Callable[[], None]) -> None:
        try:
            call()
        # whatever a library raises, or that it gives up by sys.exit: a run is worth more than its log
        except (Exception, SystemExit) as error:
            if self._loggers is not None:
                self._loggers.pop(name, None)
            text = " ".join(f"{type(error).__name__}: {error}".split())[:300]
            warnings.warn(
                f"the logger {name} failed and logs nothing more of this run ({text})", stacklevel=2
            )


def generation_values(search: Search, row: Mapping[str, Any]) -> dict[str, float]:
    """What is logged of a generation. `best/NAME` is the best so far by each objective, as it was
    measured."""
    objectives, counts = search.objectives, search.counts
    best = search.engine.best
    members = search.pareto.front if search.pareto is not None else [best] if best else []
    shown = [objectives.shown(e.values) for e in members]
    values = {
        f"best/{name}": (max if direction == "max" else min)(v[i] for v in shown)
        for i, (name, direction) in enumerate(
            zip(objectives.names, objectives.directions, strict=True)
        )
        if shown
    }
    values |= {name: float(counts[name]) for name in ("evaluated", "failed")}
    if row.get("hypervolume") is not None:
        values["hypervolume"] = float(row["hypervolume"])
    return values


def final_values(result: Mapping[str, Any]) -> dict[str, float]:
    """What is logged of a result: the winner's figures, seconds and, if they were measured, gross
    joules by phase."""
    best = result["best"]
    figures = {k: best[k] for k in ("valid_loss", "test_loss") if k in best}
    figures |= best.get("values") or {}
    values = {f"winner/{name}": float(value) for name, value in figures.items()}
    values |= {f"seconds/{k}": float(v) for k, v in result["time_s"].items()}
    joules = (result["energy_j"] or {"gross": {}})["gross"]
    return values | {f"joules/{k}": float(v) for k, v in joules.items() if v is not None}
