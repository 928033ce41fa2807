"""`nk`: NK landscapes with adjacent neighbourhoods, and their exact optimum (Kauffman 1993; Wright
et al. 2000).

Each gene contributes a random number that depends on its allele and on those of the `k` genes after
it, around a ring. The value is the mean contribution, to be minimised: contributions are uniform in
[0, 1), so that maximising is the same problem. Wright, Thompson & Zhang 2000
(doi:10.1109/4235.887236): the optimum takes polynomial time, by dynamic programming."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError
from clso.space import Gene, Genome, SearchSpace
from clso.space.functions import FunctionObjective
from clso.space.options import make_options

if TYPE_CHECKING:
    from clso.space.context import SpaceContext

__all__ = ["NK", "ring_minimum"]

_BITS = 32  # contributions are whole multiples of 2^-32, so that sums are exact in any order
_MAX_STATES = 1 << 24  # of the dynamic programme: some 100 MB


class NK(SearchSpace):
    """Genes on a ring, with epistasis of order `k`."""

    name = "nk"

    @dataclass(frozen=True)
    class Options:
        n: int = 64
        """Genes."""
        k: int = 4
        """Following genes on which a contribution depends."""
        alleles: int = 2
        """Choices of a gene."""
        seed: int = 0
        """Of the contributions."""

        def __post_init__(self) -> None:
            if self.n < 1 or self.alleles < 2 or self.seed < 0:
                raise ConfigError(
                    "n is at least 1, alleles 2, seed 0", got=(self.n, self.alleles, self.seed)
                )
            if not 0 <= self.k < self.n:
                raise ConfigError("k is at least 0 and below n", got=self.k)
            states = self.alleles ** (2 * min(self.k, 64) + 1)
            if max(states, self.n * self.alleles ** (min(self.k, 64) + 1)) > _MAX_STATES:
                raise ConfigError(
                    "alleles ** (2 k + 1) and n alleles ** (k + 1) are at most 2 ** 24", got=self
                )

    def __init__(self, options: Options | None = None) -> None:
        self.options = o = options or self.Options()
        shape = (o.n, *(o.alleles,) * (o.k + 1))
        # A bit generator's raw output is the same in every version of numpy.
        raw = np.random.PCG64(o.seed).random_raw(int(np.prod(shape)))
        self._tables = (raw >> np.uint64(64 - _BITS)).astype(np.int64).reshape(shape)
        self._neighbours = (np.arange(o.n)[:, None] + np.arange(o.k + 1)) % o.n

    @classmethod
    def from_context(cls, context: SpaceContext) -> NK:
        return cls(make_options(cls.Options, context.options))

    @cached_property
    def genes(self) -> tuple[Gene, ...]:
        choices = tuple(map(str, range(self.options.alleles)))
        return tuple(Gene(f"x{i}", choices) for i in range(self.options.n))

    def decode(self, genome: Genome) -> Genome:
        return self.validate(genome)

    def objective(self) -> FunctionObjective:
        return FunctionObjective(self._values)

    def _values(self, genomes: Sequence[Genome]) -> npt.NDArray[np.float64]:
        alleles = np.asarray(genomes, dtype=np.int64)
        picked = self._tables[
            (np.arange(self.options.n), *(alleles[:, column] for column in self._neighbours.T))
        ]
        values: npt.NDArray[np.float64] = picked.sum(axis=1) / (self.options.n * 2.0**_BITS)
        return values

    @cached_property
    def _least(self) -> int:
        return ring_minimum(self._tables)

    @property
    def optimum(self) -> float:
        return self._least / (self.options.n * 2.0**_BITS)


def ring_minimum(tables: npt.NDArray[np.int64]) -> int:
    """The least sum of contributions. `tables` (n, A, ..., A) with k + 1 axes of A alleles.

    Exact, in n A^(2 k + 1) steps: for every choice of the first k alleles, the least sum so far by
    the k alleles last chosen; the ring closes if these are the first ones again."""
    n, a, k = len(tables), tables.shape[1], tables.ndim - 2
    if k == 0:
        return int(tables.min(axis=1).sum())
    least = np.full((a**k, a**k), np.iinfo(np.int64).max // 4)
    np.fill_diagonal(least, 0)
    for table in tables.reshape(n, a, a ** (k - 1), a):  # oldest allele, those between, newest
        candidates = least.reshape(-1, a, a ** (k - 1), 1) + table
        least = candidates.min(axis=1).reshape(a**k, a**k)
    return int(least.diagonal().min())
