"""One run of one optimiser: every call of the objective is counted, whether the genome is new or
not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from benchmarks.field.problems import Genome, Problem

__all__ = ["Minimiser", "Trajectory", "minimise"]


class BudgetSpent(Exception):
    """The way out of any optimiser's loop: the last evaluation was made, or the optimum found if
    the run stops there."""


class Trajectory:
    """The objective as an optimiser sees it, and the list of (genome, value) that it asked for."""

    def __init__(
        self, problem: Problem, n_evaluations: int, *, stop_at_optimum: bool = False
    ) -> None:
        self.problem, self.n_evaluations, self.stop_at_optimum = (
            problem,
            n_evaluations,
            stop_at_optimum,
        )
        self.n_choices = problem.n_choices
        self.steps: list[tuple[Genome, float]] = []
        self.time_s = 0.0

    def __call__(self, genome: Sequence[int]) -> float:
        """The value to minimise. Raises `BudgetSpent` with the last evaluation."""
        key = tuple(genome)
        value = self.problem.evaluate(key)
        self.steps.append((key, value))
        if len(self.steps) >= self.n_evaluations or (
            self.stop_at_optimum and self.problem.solved_by(value)
        ):
            raise BudgetSpent
        return value

    def record(self) -> dict[str, Any]:
        """What the tables need: the best value, the evaluation that first reached it, the distinct
        genomes."""
        values = [value for _, value in self.steps]
        best = min(values)
        return {
            "best": best,
            "found_at": values.index(best) + 1,
            "solved": self.problem.solved_by(best),
            "n_evaluations": len(values),
            "n_distinct": len({genome for genome, _ in self.steps}),
            "time_s": round(self.time_s, 4),
        }


Minimiser = Callable[[Trajectory, int], None]
"""Calls the trajectory until it raises: (trajectory, seed)."""


def minimise(
    minimiser: Minimiser,
    problem: Problem,
    n_evaluations: int,
    seed: int,
    *,
    stop_at_optimum: bool = False,
) -> Trajectory:
    """Run `minimiser` for `n_evaluations` calls. It may end sooner if it finds nothing new to
    try."""
    trajectory = Trajectory(problem, n_evaluations, stop_at_optimum=stop_at_optimum)
    start_s = time.perf_counter()
    with suppress(BudgetSpent):
        minimiser(trajectory, seed)
    trajectory.time_s = time.perf_counter() - start_s
    return trajectory
