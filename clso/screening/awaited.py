"""Screenings between the choice of their candidates and the arrival of what was measured of them."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from clso.screening.packing import pack, pack_rows, unpack, unpack_rows
from clso.space import Genome

__all__ = ["Awaited", "Batch"]

Values = tuple[float, ...]

_MAX_OPEN = 256  # screenings whose evaluations may be awaited; of older ones what came counts


@dataclass
class Batch:
    """One screening's chosen candidates.

    Attributes:
        predicted: the values of each, in candidate order; NaN if nothing was predicted.
        strategies: how each was picked (`clso.screening.allocation`); empty if nothing was
            predicted.
        values: those that were measured so far; None if that failed.
        chances: of each not to fail, as predicted; empty if nothing was.
    """

    predicted: dict[Genome, Values]
    strategies: dict[Genome, int]
    values: dict[Genome, Values | None] = field(default_factory=dict)
    chances: dict[Genome, float] = field(default_factory=dict)

    @property
    def arrived(self) -> list[tuple[Genome, Values]]:
        """What was measured, in candidate order."""
        found = ((genome, self.values.get(genome)) for genome in self.predicted)
        return [(genome, values) for genome, values in found if values is not None]

    @property
    def outcomes(self) -> list[tuple[Genome, bool]]:
        """What succeeded or failed, and whether it failed, in candidate order."""
        told = (genome for genome in self.predicted if genome in self.values)
        return [(genome, self.values[genome] is None) for genome in told]

    @property
    def is_complete(self) -> bool:
        return len(self.values) == len(self.predicted)


class Awaited:
    """The open batches, oldest first. They close in their order, whatever the order in which
    values arrive."""

    def __init__(self, n_values: int) -> None:
        self._n_values = n_values
        self._open: deque[Batch] = deque()

    def add(self, batch: Batch) -> None:
        self._open.append(batch)

    def clear(self) -> None:
        self._open.clear()

    def owners(self, genomes: Sequence[Genome]) -> list[Batch | None]:
        """The batch that chose each genome, None if none did."""
        return [next((b for b in self._open if genome in b.predicted), None) for genome in genomes]

    @property
    def genomes(self) -> set[Genome]:
        """All of the open batches."""
        return {genome for batch in self._open for genome in batch.predicted}

    def complete(self) -> Iterator[Batch]:
        """Take out the batches whose values are all there, up to the first that waits."""
        while self._open and self._open[0].is_complete:
            yield self._open.popleft()

    def done(self, out: Collection[Genome]) -> Iterator[Batch]:
        """Take out those of which nothing more comes, because none of their genomes is `out`."""
        while self._open:
            batch = self._open[0]
            is_awaited = any(g in out for g in batch.predicted if g not in batch.values)
            if is_awaited and len(self._open) <= _MAX_OPEN:
                return
            yield self._open.popleft()

    def state(self) -> list[dict[str, Any]]:
        """In JSON types."""
        failed = (math.nan,) * self._n_values
        return [
            {
                "predicted": pack_rows(batch.predicted.items()),
                "strategies": list(batch.strategies.values()),
                "arrived": pack_rows(
                    (genome, failed if values is None else values)
                    for genome, values in batch.values.items()
                ),
                "chances": pack(batch.chances.values(), "<f8"),
            }
            for batch in self._open
        ]

    def load_state(self, state: Sequence[dict[str, Any]], n_genes: int) -> None:
        """Raises KeyError, TypeError or ValueError for a damaged one."""
        self._open.clear()
        for batch in state:
            predicted = dict(unpack_rows(batch["predicted"], n_genes, self._n_values))
            strategies = dict(
                zip(predicted, map(int, batch["strategies"]), strict=bool(batch["strategies"]))
            )
            values = {
                genome: None if math.isnan(row[0]) else row
                for genome, row in unpack_rows(batch["arrived"], n_genes, self._n_values)
            }
            told = unpack(batch.get("chances", ""), "<f8").tolist()
            chances = dict(zip(predicted, told, strict=bool(told)))
            self._open.append(Batch(predicted, strategies, values, chances))
