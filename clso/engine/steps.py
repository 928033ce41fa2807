"""How far a changed gene moves: to a near allele, if its alleles lie on a scale, or to any; each as
often as it has won."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from typing import Any

from clso.engine.operators import heavy_tailed
from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["Steps"]

_DECAY = 0.98  # per evaluation that tells one from the other
_PRIOR = 1.0, 8.0  # wins and tries that either begins with
_LEAST = 0.1  # of the changes, by either


class Steps:
    """Changes a gene of a child, in place.

    A step from the best genome by one ordered gene alone tells which kind of step it was; it won if
    what came of it is better. Shares follow the recent wins per try.

    Args:
        n_choices: number of alleles of each gene.
        ordered: places of the genes whose alleles lie on a scale.
        rng: the engine's stream.
    """

    def __init__(
        self, n_choices: Sequence[int], ordered: Iterable[int], rng: random.Random
    ) -> None:
        self._n_choices, self._rng = n_choices, rng
        self._ordered = frozenset(gene for gene in ordered if n_choices[gene] > 3)
        self._wins, self._tries = [0.0, 0.0], [0.0, 0.0]  # far, near
        self.share = 0.5
        """Of near steps."""

    def _divide(self) -> None:
        wins, tries = _PRIOR
        far, near = ((w + wins) / (t + tries) for w, t in zip(self._wins, self._tries, strict=True))
        self.share = min(max(near / (far + near), _LEAST), 1 - _LEAST)

    def change(self, child: list[int], gene: int) -> None:
        """`gene` gets another allele."""
        n, old = self._n_choices[gene], child[gene]
        if gene in self._ordered and self._rng.random() < self.share:
            step = heavy_tailed(n - 1, self._rng)
            new = old + step if self._rng.random() < 0.5 else old - step
            if 0 <= new < n:
                child[gene] = new
                return
        allele = int(self._rng.random() * (n - 1))
        child[gene] = allele + (allele >= old)

    def credit(self, best: Genome, value: float, evaluations: Iterable[Evaluation]) -> None:
        """Take in what was measured, given the best genome of before and its value."""
        if not self._ordered:
            return
        for evaluation in evaluations:
            changed = [
                i for i, (a, b) in enumerate(zip(best, evaluation.genome, strict=True)) if a != b
            ]
            if len(changed) == 1 and changed[0] in self._ordered:
                gene = changed[0]
                is_near = abs(best[gene] - evaluation.genome[gene]) <= 1
                self._wins = [_DECAY * w for w in self._wins]
                self._tries = [_DECAY * t for t in self._tries]
                self._tries[is_near] += 1
                self._wins[is_near] += evaluation.value < value
                self._divide()

    def state_dict(self) -> dict[str, Any]:
        return {"wins": self._wins, "tries": self._tries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a damaged state."""
        self._wins, self._tries = ([float(x) for x in state[key]] for key in ("wins", "tries"))
        if len(self._wins) != 2 or len(self._tries) != 2:
            raise ValueError("there are two kinds of steps")
        self._divide()
