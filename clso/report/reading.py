"""What the pictures show, read from a run folder and checked while it is read."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.config import RunConfig
from clso.errors import ConfigError, RunFolderError
from clso.report.front import Front, read_front
from clso.report.traced import States, read_states
from clso.run.entries import (
    Entry,
    finite,
    read_entry,
    read_folder,
    require_one_text,
    with_distinct_names,
)
from clso.run.folder import RunFolder
from clso.run.schema import check_row
from clso.space.trials import OFF

__all__ = ["Audits", "RunData", "read_run"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Audits:
    """The surrogate's report card. `pairs` (n, 3): generation, predicted and measured value of each
    audit.

    `correlation` and `trusted` are by generation; a correlation that was not known yet is NaN.
    """

    pairs: Floats
    correlation: Floats
    trusted: npt.NDArray[np.bool_]


@dataclass(frozen=True)
class RunData:
    """A finished run. Arrays are by generation; all values were measured, and are as they were
    measured also where more is better.

    `spread` (3, generations) holds the population's 10th, 50th and 90th percentile. `held` (genes,
    generations) is the share of the population with the winner's allele and `best_holds` says
    whether the best genome so far has it. `finalists` are (genome, loss on valid or None if it
    was not finite)."""

    path: Path
    config: RunConfig
    result: dict[str, Any]
    manifest: dict[str, Any]
    own: Entry
    baselines: tuple[Entry, ...]
    generations: Floats
    best: Floats
    spread: Floats
    audits: Audits
    held: Floats
    best_holds: npt.NDArray[np.bool_]
    alleles: dict[str, str]
    finalists: tuple[tuple[tuple[int, ...], float | None], ...]
    front: Front | None
    states: States | None

    @property
    def is_language(self) -> bool:
        """Whether the values are losses of language models, in nats per token."""
        return self.own.valid_loss is not None

    @property
    def measure(self) -> str:
        """The name of the values in a sentence."""
        return self.own.measure.replace("_", " ")

    @property
    def better(self) -> str:
        """Which of two values is the better one."""
        return "more is better" if self.own.sign < 0 else "less is better"

    @property
    def value_label(self) -> str:
        """What an axis of values is called."""
        return "loss (nats per token)" if self.is_language else f"{self.measure} ({self.better})"

    @property
    def optimum(self) -> float | None:
        """The best value there is, if a space that is no language model knows it."""
        value = self.result.get("optimum")
        return finite(value) if value is not None else None

    @property
    def log_vocabulary(self) -> float | None:
        """The loss of knowing nothing."""
        value = self.result.get("log_vocabulary")
        return finite(value) if value is not None else None


def read_run(run: Path, baselines: list[Path]) -> RunData:
    """Read and check. Raises `RunFolderError` if a folder is unfinished, damaged, foreign or
    over another text."""
    folder = RunFolder.open(run)
    if not folder.finished:
        raise RunFolderError(
            "a report needs a finished run",
            got=str(run),
            remedy=f"Finish it with `clso resume {run}`.",
        )
    try:
        config = folder.config
    except ConfigError as error:
        raise RunFolderError(
            f"{run / 'config.toml'} is a run's configuration", problem=str(error)
        ) from error
    result, manifest = folder.read_result(), folder.read_manifest()
    if "baseline" in result:
        raise RunFolderError(
            "a report is about a run of `clso evolve`",
            got=str(run),
            remedy="Name the run first; baselines come after it.",
        )
    folder.require_written("records.jsonl")
    own = read_entry(run, result, manifest)
    winner, alleles = _winner(run, result)
    record = _Record(winner)
    number = 0
    try:
        for number, row in enumerate(folder.records(), 1):  # noqa: B007
            check_row(row)
            record.add(row)
    except (KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{run / 'records.jsonl'} is whole",
            problem=f"line {number} cannot be used ({type(error).__name__}: {error})",
            remedy="Its rows are damaged, or belong to another run.",
        ) from error
    if not record.generations or len(record.generations) != result["counts"]["generations"]:
        raise RunFolderError(
            f"{run / 'records.jsonl'} holds the {result['counts']['generations']} generations that result.json counts",
            got=len(record.generations),
        )
    try:
        front = read_front(result, record.values, record.hypervolume)
        states = read_states(result)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{run / 'result.json'} is a run's result",
            problem=f"a value is missing or of another kind ({type(error).__name__}: {error})",
        ) from error
    sign = own.sign
    pairs = np.array(record.audits, dtype=np.float64).reshape(-1, 3)
    spread = np.array(record.spread).T
    others = [read_folder(path) for path in baselines]
    for other in others:
        require_one_text(other, own)
    return RunData(
        path=run,
        config=config,
        result=result,
        manifest=manifest,
        own=own,
        baselines=with_distinct_names(others),
        generations=np.array(record.generations, dtype=np.float64),
        best=sign * np.array(record.best),
        spread=spread if sign > 0 else -spread[::-1],
        audits=Audits(
            pairs * (1.0, sign, sign),
            np.array(record.correlation),
            np.array(record.trusted, dtype=np.bool_),
        ),
        held=np.array(record.held).T,
        best_holds=np.array(record.best_holds, dtype=np.bool_).T,
        alleles=alleles,
        finalists=tuple(record.finalists),
        front=front,
        states=states,
    )


def _winner(run: Path, result: dict[str, Any]) -> tuple[tuple[int, ...], dict[str, str]]:
    """The winner's genome, and its alleles in words by gene. Checks what else pictures need of the
    result."""
    try:
        winner = _genome(result["best"]["genome"])
        alleles = {str(k): str(v) for k, v in result["best"]["alleles"].items()}
        if len(alleles) != len(winner) or not winner:
            raise ValueError(f"{len(winner)} genes and {len(alleles)} alleles")
        alleles |= dict.fromkeys(result["best"].get("inactive", ()), OFF)
        if not isinstance(result["counts"]["generations"], int):
            raise TypeError("counts.generations is no number")
        audit = result["surrogate"]["audit"]
        for key in ("rank_correlation", "n", "disabled", "reason"):
            audit[key]
        result["surrogate"]["name"], result["surrogate"]["trusted"]
        for key in ("log_vocabulary", "optimum"):
            if result.get(key) is not None:
                finite(result[key])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RunFolderError(
            f"{run / 'result.json'} is a run's result",
            problem=f"a value is missing or of another kind ({type(error).__name__}: {error})",
        ) from error
    return winner, alleles


class _Record:
    """Takes in the rows of a record in their order, and keeps only what is drawn.

    A generation's row names its population by values; the genomes behind a value are those measured
    so far that have it. If several do, each counts in proportion."""

    def __init__(self, winner: tuple[int, ...]) -> None:
        self._winner = np.array(winner)
        self._measured: dict[tuple[int, ...], list[float]] = {}
        self._first: dict[float, npt.NDArray[np.bool_]] = {}
        self._sums: dict[float, tuple[npt.NDArray[np.int64], int]] = {}
        self.generations: list[int] = []
        self.best: list[float] = []
        self.spread: list[Floats] = []
        self.audits: list[tuple[float, float, float]] = []
        self.correlation: list[float] = []
        self.trusted: list[bool] = []
        self.held: list[Floats] = []
        self.best_holds: list[npt.NDArray[np.bool_]] = []
        self.values: list[list[float]] = []
        self.hypervolume: list[float] = []
        self.finalists: list[tuple[tuple[int, ...], float | None]] = []

    def add(self, row: dict[str, Any]) -> None:
        """One row. Raises `KeyError`, `TypeError` or `ValueError` if it is damaged."""
        kind = row["type"]
        if kind == "evaluation" and row["generation"] is not None:
            self._evaluation(row)
        elif kind == "generation":
            self._generation(row)
        elif kind == "finalist":
            loss = row["valid_loss"]
            self.finalists.append((_genome(row["genome"]), None if loss is None else finite(loss)))

    def _evaluation(self, row: dict[str, Any]) -> None:
        if row["status"] != "ok":
            return
        genome = _genome(row["genome"])
        if len(genome) != len(self._winner):
            raise ValueError(f"a genome of {len(genome)} genes, not {len(self._winner)}")
        holds = np.array(genome) == self._winner
        measured = self._measured.setdefault(genome, [])
        measured.append(finite(row["values"][0]))
        value = math.fsum(measured) / len(measured)  # of a noisy run it is measured again
        self.values.append([finite(v) for v in row["values"]])
        self._first.setdefault(value, holds)
        total, count = self._sums.get(value, (np.zeros(len(holds), dtype=np.int64), 0))
        self._sums[value] = (total + holds, count + 1)

    def _generation(self, row: dict[str, Any]) -> None:
        number = row["generation"]
        if type(number) is not int or number != len(self.generations) + 1:
            raise ValueError(f"generation {number!r} after generation {len(self.generations)}")
        population = [finite(v) for v in row["population"]]
        if not population:
            raise ValueError("an empty population")
        best = finite(row["best"])
        self.generations.append(number)
        self.best.append(best)
        self.spread.append(np.percentile(population, (10, 50, 90)))
        self.audits += [
            (float(number), finite(predicted), finite(true)) for predicted, true in row["audits"]
        ]
        rho = row["audit_correlation"]
        self.correlation.append(np.nan if rho is None else finite(rho))
        self.trusted.append(bool(row["surrogate_trusted"]))
        if "hypervolume" in row:
            volume = row["hypervolume"]  # None if no float holds it
            self.hypervolume.append(np.nan if volume is None else finite(volume))
        self.held.append(np.mean(list(self._shares(population)), axis=0))
        self.best_holds.append(self._first[best])

    def _shares(self, population: list[float]) -> Iterator[Floats]:
        for value in population:
            total, count = self._sums[value]
            yield total / count


def _genome(value: Any) -> tuple[int, ...]:
    genome = tuple(value)
    if not all(type(a) is int for a in genome):
        raise TypeError(f"{value!r} is no genome")
    return genome
