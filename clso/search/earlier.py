"""Earlier runs that a search starts from.

Their best genomes are measured anew before all others, and what was measured then teaches the
surrogate until audits say that it does not rank here. No value of an earlier run becomes one of
this: another text, or another task, may have given it."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from clso.config import RunConfig
from clso.disk.files import open_regular, read_regular
from clso.disk.parsing import parse_json
from clso.engine import EngineConfig, crowded_order
from clso.errors import ClsoError, ConfigError
from clso.space import Gene, Genome, SearchSpace
from clso.space.checked import CheckedSpace
from clso.space.results import Evaluation

__all__ = ["Earlier", "EarlierRun"]

_SHARE = 4  # one seed for so many members of the population


@dataclass(frozen=True)
class EarlierRun:
    """What one run measured on its first rung, oldest first; failures are left out.

    `genes` are its manifest's, None if there is none; `objective` is the one that it named first.
    """

    name: str
    evaluations: tuple[Evaluation, ...]
    genes: tuple[dict[str, Any], ...] | None = None
    objective: str = ""

    @classmethod
    def of(cls, source: Any) -> EarlierRun:
        """Raises `ConfigError` for what is neither a run folder nor evaluations."""
        if isinstance(source, EarlierRun):
            return source
        if isinstance(source, (str, os.PathLike)):
            return cls.read(Path(source))
        found = list(getattr(source, "evaluations", source))
        if not all(isinstance(e, Evaluation) for e in found):
            raise ConfigError("a search starts from run folders, or from evaluations", got=source)
        return cls("evaluations", tuple(e for e in found if e.ok and e.fidelity == 0))

    @classmethod
    def read(cls, path: Path) -> EarlierRun:
        """A run folder, finished or not. Raises `ConfigError` if it is none, or damaged."""
        if not (path / "config.toml").is_file():
            raise ConfigError(
                "a run to start from is a folder with config.toml",
                got=str(path),
                remedy="Check the path.",
            )
        config = RunConfig.from_toml(path / "config.toml")
        try:
            manifest = parse_json(read_regular(path / "manifest.json"))
            genes = tuple(dict(gene) for gene in manifest["genes"])
            with open_regular(path / "records.jsonl") as file:
                # the last line of a run that goes on may be half written
                rows = [parse_json(line) for line in file if line.endswith(b"\n")]
            found = [Evaluation.from_json(row) for row in rows if row["type"] == "evaluation"]
        except (OSError, ValueError, KeyError, TypeError, ClsoError) as error:
            raise ConfigError(
                f"the run in {path} can be started from",
                problem=f"its manifest or record cannot be read ({type(error).__name__}: {error})",
            ) from error
        kept = tuple(e for e in found if e.ok and e.fidelity == 0)
        return cls(str(path), kept, genes, config.objective[0] if config.objective else "")

    def require(self, space: SearchSpace, objective: str) -> None:
        """Raises `ConfigError` if this is a run of other genes or for another objective."""
        rule = f"a run to start from is of the same search space, {space.name!r}"
        difference = None if self.genes is None else _difference(self.genes, space.genes)
        if difference:
            raise ConfigError(rule, problem=f"{self.name} is of another ({difference})")
        first = space.measures[0].name
        if self.genes is not None and (self.objective or first) != (objective or first):
            raise ConfigError(
                f"a run to start from measured {objective or first} first",
                problem=f"{self.name} measured {self.objective or first}",
            )
        try:
            for evaluation in self.evaluations:
                space.validate(evaluation.genome)
        except ClsoError as error:
            raise ConfigError(rule, problem=f"{self.name}: {error}") from error

    @property
    def rows(self) -> list[tuple[Genome, tuple[float]]]:
        """What a surrogate of the first value learns from."""
        return [(e.genome, (e.value,)) for e in self.evaluations]

    def best_first(self, n_values: int) -> list[Genome]:
        """By the first value, or, if `n_values` are searched for, by NSGA-II's order of them."""
        if not self.evaluations:
            return []
        values = np.array([e.values[:n_values] for e in self.evaluations])
        several = values.shape[1] > 1
        order = crowded_order(values) if several else np.argsort(values[:, 0], kind="stable")
        return [self.evaluations[i].genome for i in order]


@dataclass(frozen=True)
class Earlier:
    """Any number of earlier runs, of the space that is searched."""

    runs: tuple[EarlierRun, ...] = ()

    @classmethod
    def of(cls, sources: Iterable[Any], space: SearchSpace, objective: str = "") -> Earlier:
        """Raises `ConfigError` for what is no run, or is one of another space or objective."""
        if isinstance(sources, (str, os.PathLike)):
            sources = [sources]
        runs = tuple(map(EarlierRun.of, sources))
        for run in runs:
            run.require(space, objective)
        return cls(runs)

    def seeds(
        self, checked: CheckedSpace, pop_size: int | None = None, n_values: int = 1
    ) -> list[Genome]:
        """Genomes to measure first, a quarter as many as the population has: each run's best in
        turn, then each one's second, ..., those that meet the constraints."""
        pop_size = EngineConfig.pop_size if pop_size is None else pop_size
        tiers = zip_longest(*(run.best_first(n_values) for run in self.runs))
        genomes = dict.fromkeys(genome for tier in tiers for genome in tier if genome is not None)
        feasible = (g for g in genomes if all(v <= 0 for v in checked.constraints(g)))
        return list(islice(feasible, max(1, pop_size // _SHARE)))

    @property
    def rows(self) -> list[list[tuple[Genome, tuple[float]]]]:
        return [run.rows for run in self.runs]

    def to_json(self) -> list[dict[str, Any]]:
        return [
            {"run": run.name, "evaluations": [e.to_json() for e in run.evaluations]}
            for run in self.runs
        ]

    @classmethod
    def from_json(cls, rows: Sequence[dict[str, Any]]) -> Earlier:
        """Raises KeyError, TypeError, ValueError or `ClsoError` for what is damaged."""
        return cls(
            tuple(
                EarlierRun(row["run"], tuple(map(Evaluation.from_json, row["evaluations"])))
                for row in rows
            )
        )


def _difference(recorded: Sequence[dict[str, Any]], genes: Sequence[Gene]) -> str:
    """The first difference between a manifest's genes and these; empty if there is none."""
    if len(recorded) != len(genes):
        return f"{len(recorded)} genes, here {len(genes)}"
    for gene, row in zip(genes, recorded, strict=True):
        if row.get("name") != gene.name:
            return f"gene {row.get('name')!r}, here {gene.name!r}"
        if row.get("n_choices") != len(gene) or row.get("choices", list(gene.choices)) != list(
            gene.choices
        ):
            return f"gene {gene.name!r} has other choices"
    return ""
