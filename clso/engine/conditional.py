"""Variation of genomes some of whose genes make no difference: it changes only those that do.

A gene that a change switches on takes a random allele: what it held while it was off was never
measured, so that it is no better a guess than any other."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence

from clso.engine.operators import Change, flip, heavy_tailed, mutate
from clso.space import Genome

__all__ = ["ConditionalVariation"]


class ConditionalVariation:
    """The operators of `clso.engine.operators` on the active genes of a child, in place.

    Args:
        n_choices: number of alleles of each gene.
        off: places of a genome's inactive genes.
        rate: of `mutate`, for each active gene; None: one over their number.
        rng: the engine's stream.
        change: of `clso.engine.operators.make_toolbox`.
    """

    def __init__(
        self,
        n_choices: Sequence[int],
        off: Callable[[Genome], Collection[int]],
        *,
        rate: float | None,
        rng: random.Random,
        change: Change | None = None,
    ) -> None:
        self._n_choices, self._off = n_choices, off
        self._rate, self._rng, self._change = rate, rng, change
        self._free = [gene for gene, n in enumerate(n_choices) if n > 1]

    def flip(self, child: list[int]) -> None:
        """Exactly one active gene changes to another allele."""
        off = self._off(tuple(child))
        flip(child, self._n_choices, self._active(off), self._rng, self._change)
        self._wake(child, off)

    def jump(self, child: list[int]) -> None:
        """As many changes as `clso.engine.operators.jump` makes."""
        for _ in range(heavy_tailed(len(self._free), self._rng)):
            self.flip(child)

    def mutate(self, child: list[int]) -> None:
        """Each active gene changes to another allele with probability `rate`."""
        off = self._off(tuple(child))
        active = self._active(off)
        rate = 1 / max(1, len(active)) if self._rate is None else self._rate
        mutate(child, self._n_choices, active, rate, self._rng, self._change)
        self._wake(child, off)

    def _active(self, off: Collection[int]) -> list[int]:
        return [gene for gene in self._free if gene not in off]

    def _wake(self, child: list[int], was_off: Collection[int]) -> None:
        """Draw the alleles of the genes that are no longer off."""
        if not was_off:
            return
        off = self._off(tuple(child))
        while woken := [gene for gene in was_off if gene not in off]:
            for gene in sorted(woken):
                child[gene] = int(self._rng.random() * self._n_choices[gene])
            was_off = off
            off = self._off(tuple(child))
