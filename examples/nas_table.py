"""Search NAS-Bench-201: 15,625 image classifiers whose errors stand in a table, so that an evaluation costs nothing.

pip install 'clso[nasbench201]'
python examples/nas_table.py
"""

from __future__ import annotations

from clso import Optimizer
from clso.search_spaces.nasbench201 import NASBench201

if __name__ == "__main__":
    space = NASBench201()
    objective = space.objective()
    optimizer = Optimizer(space, seed=0)
    while optimizer.n_evaluated < 150:
        optimizer.tell(objective.evaluate(optimizer.ask(10), 1))
    best = optimizer.best
    assert best is not None
    print(f"{best.value:.2f} % error after {optimizer.n_evaluated} of 15,625 cells")
    print(f"the best cell there is has {space.optimum:.2f} %")
    print(space.decode(best.genome))
