"""What was measured, as a table: one row a trial, with the genes by name."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clso.errors import MissingDependencyError
from clso.space.conditions import Conditions
from clso.space.genome import Gene, Genome
from clso.space.results import Evaluation

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["OFF", "Trial", "Trials"]

OFF = "off"
"""What is shown of a gene that makes no difference, in place of an allele."""
_HEAD = ("trial", "generation", "rung", "status")
_TAIL = ("tokens", "time_s", "error")


@dataclass(frozen=True)
class Trial:
    """One evaluation. `generation` is None for those of higher rungs, after the search; `time_s`
    the seconds of search up to the end of its generation, None if they were not noted."""

    evaluation: Evaluation
    generation: int | None = None
    time_s: float | None = None

    def shown(self, signs: Sequence[float]) -> Trial:
        """With values as they were measured: -1.0 for each that is to be large, which a search
        and its record hold negated."""
        e = self.evaluation
        values = tuple(s * v for s, v in zip(signs, e.values, strict=False))
        return replace(self, evaluation=replace(e, values=values))


@dataclass(frozen=True)
class Trials:
    """Trials in the order of their measurement.

    Parameters
    ----------
    genes
        With the labels of their alleles, or with none if those are not known; then alleles are
        given as indices.
    objectives
        Names of the values, in their order.
    trials
        The rows.
    directions
        "min" or "max" of each objective; all "min" if it is empty.
    find_inactive
        Names the genes that make no difference in a genome; by default what the genes declare.

    Examples
    --------
    >>> table = Trials((Gene("act", ("relu", "tanh")),), ("loss",), (Trial(Evaluation((1,), 0, (2.5,))),))
    >>> table.rows()[0]["act"], table.rows()[0]["loss"]
    ('tanh', 2.5)
    """

    genes: tuple[Gene, ...]
    objectives: tuple[str, ...]
    trials: tuple[Trial, ...]
    directions: tuple[str, ...] = ()
    find_inactive: Callable[[Genome], Collection[str]] | None = None

    @property
    def direction(self) -> str:
        """Of the first objective."""
        return self.directions[0] if self.directions else "min"

    def badness(self, evaluation: Evaluation) -> float:
        """The first objective so that less is better; infinite for a failure."""
        flip = evaluation.ok and self.direction == "max"
        return -evaluation.value if flip else evaluation.value

    @property
    def gene_columns(self) -> tuple[str, ...]:
        """The genes' columns: their names, or `gene.NAME` where another column has the name."""
        taken = {*_HEAD, *_TAIL, *self.objectives}
        return tuple(f"gene.{g.name}" if g.name in taken else g.name for g in self.genes)

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns: `trial` (from 1), `generation`, `rung`, `status`, the objectives, the genes,
        `tokens`, `time_s`, `error` (a failure's last line)."""
        return (*_HEAD, *self.objectives, *self.gene_columns, *_TAIL)

    def rows(self) -> list[dict[str, Any]]:
        """One dict a trial, of JSON types; the values of a failure are None, and so are genes that
        make no difference."""
        return [self._row(i, trial) for i, trial in enumerate(self.trials, 1)]

    def _row(self, number: int, trial: Trial) -> dict[str, Any]:
        e = trial.evaluation
        error = (e.error or "").strip().splitlines()
        values: tuple[float | None, ...] = e.values if e.ok else ()
        values += (None,) * (len(self.objectives) - len(values))  # a higher rung measures one
        cells = (
            *(number, trial.generation, e.fidelity, e.status),
            *values,
            *self.labels(e.genome),
            *(e.n_tokens, trial.time_s, error[-1] if error else None),
        )
        return dict(zip(self.columns, cells, strict=True))

    def labels(self, genome: Genome) -> list[str | int | None]:
        """A genome's alleles in words, None for a gene that makes no difference in it."""
        off = self.inactive(genome)
        return [
            None if gene.name in off else gene.choices[allele] if gene.choices else allele
            for gene, allele in zip(self.genes, genome, strict=True)
        ]

    def inactive(self, genome: Genome) -> Collection[str]:
        """Names of the genes that make no difference in it."""
        if self.find_inactive is not None:
            return self.find_inactive(genome)
        return [self.genes[i].name for i in self._conditions.inactive(genome)]

    @cached_property
    def _conditions(self) -> Conditions:
        return Conditions(self.genes)

    def to_csv(self) -> str:
        """The table as CSV, with a line of names; nothing for what was not measured."""
        out = io.StringIO()
        writer = csv.DictWriter(out, self.columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows())
        return out.getvalue()

    def to_json(self) -> str:
        """The rows as a JSON list."""
        return json.dumps(self.rows(), allow_nan=False)

    def to_frame(self) -> pd.DataFrame:
        """The table of pandas (extra `frames`). Raises `MissingDependencyError` without it."""
        try:
            import pandas as pd
        except ImportError as error:
            raise MissingDependencyError(
                "a data frame needs pandas", remedy="Run: pip install 'clso[frames]'"
            ) from error
        return pd.DataFrame(self.rows(), columns=list(self.columns))

    def write_parquet(self, path: Path) -> None:
        """The table as a Parquet file (extra `frames`). Raises `MissingDependencyError` without
        pyarrow."""
        try:
            import pyarrow as pa
            import pyarrow.parquet as pq
        except ImportError as error:
            raise MissingDependencyError(
                "a Parquet file needs pyarrow", remedy="Run: pip install 'clso[frames]'"
            ) from error
        rows = self.rows()
        kinds = {
            **dict.fromkeys(("trial", "generation", "rung", "tokens"), pa.int64()),
            **dict.fromkeys((*self.objectives, "time_s"), pa.float64()),
            **{
                column: pa.string() if gene.choices else pa.int64()
                for column, gene in zip(self.gene_columns, self.genes, strict=True)
            },
        }
        columns = {
            name: pa.array([row[name] for row in rows], kinds.get(name, pa.string()))
            for name in self.columns
        }
        pq.write_table(pa.table(columns), path)
