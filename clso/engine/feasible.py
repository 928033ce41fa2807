"""New feasible genomes, if random ones are hardly ever feasible: walks down the values of the
constraints.

A walk begins at a parent, as children do, or at a random genome. A step changes one gene or swaps
two, and counts if it breaks the constraints no more than before (Deb 2000's order among infeasible
ones, doi:10.1016/S0045-7825(99)00389-8). On the feasible side that is a local search: swaps keep
sums and permutations as they are. A small space is listed whole in the end, so that nothing is left
over."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

from clso.space import Genome
from clso.space.checked import CheckedSpace

__all__ = ["FeasibleSearch", "Shortfall"]

_LISTED = 65_536  # genomes of a space that is listed whole
# of a search; in between, _DRAWS for each neighbour of a genome
_LEAST_DRAWS, _MOST_DRAWS = (
    16_384,
    131_072,
)
_DRAWS = 128
# steps of a walk that change nothing; in between, two for each neighbour
_LEAST_PATIENCE, _MOST_PATIENCE = (
    64,
    2048,
)


@dataclass(frozen=True)
class Shortfall:
    """Why fewer genomes came than were asked for; `is_proven` if the space has no more."""

    reason: str
    is_proven: bool


class FeasibleSearch:
    """Finds genomes with a `violation` of 0 that satisfy `is_new`, one at a time.

    Args:
        space: what is searched.
        sample: draws a random genome.
        flip: changes one gene of a genome.
        repair: makes a genome feasible if the space can.
        violation: by how much the constraints are broken; 0 if a genome is feasible.
        rng: the engine's stream.
    """

    def __init__(
        self,
        space: CheckedSpace,
        *,
        sample: Callable[[], Genome],
        flip: Callable[[Genome], Genome],
        repair: Callable[[Genome], Genome],
        violation: Callable[[Genome], float],
        rng: random.Random,
    ) -> None:
        self._space, self._sizes = space, space.sizes
        self._sample, self._flip, self._repair = sample, flip, repair
        self._violation, self._rng = violation, rng
        n_neighbours = sum(size - 1 for size in space.sizes)
        self.n_draws = min(max(_LEAST_DRAWS, _DRAWS * n_neighbours), _MOST_DRAWS)
        self._patience = min(max(_LEAST_PATIENCE, 2 * n_neighbours), _MOST_PATIENCE)
        self._feasible: list[Genome] | None = None  # all of a small space's, once it was listed

    @property
    def can_list(self) -> bool:
        """Whether the space is small enough to be listed whole."""
        return self._space.count <= _LISTED

    def walk(
        self, parent: Callable[[], Genome] | None, is_new: Callable[[Genome], bool]
    ) -> Genome | None:
        """A new feasible genome, from a `parent` or, every other time, from anywhere; None after
        `n_draws` draws."""
        left, from_parent = self.n_draws, parent is not None
        while left > 0:
            at = parent() if parent is not None and from_parent else self._sample()
            from_parent = not from_parent
            found, spent = self._walk(at, is_new, left)
            if found is not None:
                return found
            left -= spent
        return None

    def _walk(
        self, at: Genome, is_new: Callable[[Genome], bool], n: int
    ) -> tuple[Genome | None, int]:
        """One walk of at most `n` draws: what it found, and how many it took."""
        level, unchanged = self._violation(at), 0
        for spent in range(1, n + 1):
            if level == 0 and is_new(at):
                return at, spent
            other = self._repair(self._swapped(at) if self._rng.random() < 0.5 else self._flip(at))
            reached = self._violation(other)
            unchanged = 0 if reached <= level and other != at else unchanged + 1
            if unchanged > self._patience:
                return None, spent
            if reached <= level:
                at, level = other, reached
        return None, n

    def _swapped(self, genome: Genome) -> Genome:
        """`genome` with two genes' alleles exchanged, if both take the other's and that changes
        something."""
        i, j = (int(self._rng.random() * len(genome)) for _ in range(2))
        if genome[i] == genome[j] or genome[i] >= self._sizes[j] or genome[j] >= self._sizes[i]:
            return self._flip(genome)
        child = list(genome)
        child[i], child[j] = child[j], child[i]
        return tuple(child)

    def listed(self, n: int, is_new: Callable[[Genome], bool]) -> list[Genome]:
        """`n` new feasible genomes of a small space, at random, no two of which stand for the same;
        all of them if there are fewer."""
        if self._feasible is None:
            every = {self._space.key(g): g for g in self._space.every() if self._violation(g) == 0}
            self._feasible = list(every.values())
        new = [genome for genome in self._feasible if is_new(genome)]
        return self._rng.sample(new, min(n, len(new)))
