"""A search space of one's own: MAX-3-SAT, with a batch of assignments judged in one operation of numpy.

python examples/max_sat.py
clso evolve --space examples/max_sat.py:Formula --gens 20     # the same with a run folder
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clso import Gene, Measure, Optimizer, SearchSpace
from clso.space import Genome
from clso.space.functions import FunctionObjective

N_VARIABLES, N_CLAUSES = 40, 150


class Formula(SearchSpace):
    """Random clauses of three literals each; the value is how many are left unsatisfied."""

    name = "formula"
    measures = (Measure("unsatisfied", unit="clauses"),)
    genes = tuple(Gene(f"x{i}", ("false", "true")) for i in range(N_VARIABLES))

    def __init__(self, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        self.variables = np.array(
            [rng.choice(N_VARIABLES, 3, replace=False) for _ in range(N_CLAUSES)]
        )
        self.wanted = rng.integers(0, 2, (N_CLAUSES, 3))

    def decode(self, genome: Genome) -> dict[str, bool]:
        return {gene.name: bool(a) for gene, a in zip(self.genes, genome, strict=True)}

    def unsatisfied(self, genomes: Sequence[Genome]) -> npt.NDArray[np.float64]:
        """Unsatisfied clauses of each assignment, shape (n,)."""
        literals = np.array(genomes)[:, self.variables] == self.wanted  # (n, clauses, 3)
        return (~literals.any(axis=2)).sum(axis=1).astype(float)

    def objective(self) -> FunctionObjective:
        return FunctionObjective(self.unsatisfied)


if __name__ == "__main__":
    space = Formula()
    objective = space.objective()
    optimizer = Optimizer(space, seed=0)
    while optimizer.n_evaluated < 400 and (optimizer.best is None or optimizer.best.value > 0):
        optimizer.tell(objective.evaluate(optimizer.ask(20), 1))
    best = optimizer.best
    assert best is not None
    print(f"{best.value:.0f} of {N_CLAUSES} clauses unsatisfied after {optimizer.n_evaluated}")
