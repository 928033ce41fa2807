"""`maxsat`: MAX-3-SAT with a planted solution, so that the optimum, no unsatisfied clause, is known
at any size.

A clause that only the planted assignment must satisfy leans towards it, and counting literals would
give it away. So every clause has to be satisfied by the assignment and by its complement
(Achlioptas, Jia & Moore 2005, JAIR 24)."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError
from clso.space import Gene, Genome, Measure, SearchSpace
from clso.space.functions import FunctionObjective
from clso.space.options import make_options

if TYPE_CHECKING:
    from clso.space.context import SpaceContext

__all__ = ["MaxSat"]

_MAX_CLAUSES = 10_000_000


class MaxSat(SearchSpace):
    """Boolean variables; the value is the number of clauses of three literals that they leave
    unsatisfied."""

    name = "maxsat"
    measures = (Measure("unsatisfied", unit="clauses"),)

    @dataclass(frozen=True)
    class Options:
        n: int = 100
        """Variables."""
        ratio: float = 4.27
        """Clauses per variable. About 4.27 is where random formulas cease to have solutions, and is
        hardest."""
        seed: int = 0
        """Of the formula."""

        def __post_init__(self) -> None:
            if self.n < 3 or self.seed < 0:
                raise ConfigError("n is at least 3, seed 0", got=(self.n, self.seed))
            if not 1 <= self.ratio * self.n <= _MAX_CLAUSES:
                raise ConfigError(f"ratio times n is 1 to {_MAX_CLAUSES:,} clauses", got=self.ratio)

    def __init__(self, options: Options | None = None) -> None:
        self.options = options or self.Options()
        rng = random.Random(self.options.seed)
        n = self.options.n
        self.planted: Genome = tuple(rng.getrandbits(1) for _ in range(n))
        """An assignment that satisfies every clause; so does its complement."""
        n_clauses = round(self.options.ratio * n)
        self.variables = np.array([rng.sample(range(n), 3) for _ in range(n_clauses)])
        """Of the clauses, (n_clauses, 3)."""
        # Which literals the planted assignment makes true, as three bits: some, but not all.
        codes = np.array([rng.randrange(1, 7) for _ in range(n_clauses)])
        true = codes[:, None] >> np.arange(3) & 1
        self.wanted = np.array(self.planted)[self.variables] ^ true ^ 1
        """Value of a variable that satisfies the clause, (n_clauses, 3)."""

    @classmethod
    def from_context(cls, context: SpaceContext) -> MaxSat:
        return cls(make_options(cls.Options, context.options))

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        return tuple(Gene(f"x{i}", ("false", "true")) for i in range(self.options.n))

    def decode(self, genome: Genome) -> tuple[bool, ...]:
        """The assignment."""
        return tuple(map(bool, self.validate(genome)))

    def objective(self) -> FunctionObjective:
        return FunctionObjective(self._values)

    def _values(self, genomes: Sequence[Genome]) -> npt.NDArray[np.float64]:
        bits = np.asarray(genomes, dtype=np.int8)
        missed = [bits[:, self.variables[:, i]] != self.wanted[:, i] for i in range(3)]
        unsatisfied: npt.NDArray[np.float64] = (missed[0] & missed[1] & missed[2]).sum(
            axis=1, dtype=np.float64
        )
        return unsatisfied

    @property
    def optimum(self) -> float:
        return 0.0
