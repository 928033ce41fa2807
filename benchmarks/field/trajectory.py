"""One run of one optimiser: every call of the objective is counted, whether the genome is new or
not."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from benchmarks.field.problem import Genome, Problem, Value

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
        self.steps: list[tuple[Genome, Value]] = []
        self.recommended: Genome | None = None
        """What the optimiser says is best; None: what it saw the least value of."""
        self.time_s = self.cpu_s = 0.0

    @property
    def left(self) -> int:
        """Evaluations that may still be made."""
        return self.n_evaluations - len(self.steps)

    def __call__(self, genome: Sequence[int]) -> Value:
        """What is to be small; NaN if it failed. Raises `BudgetSpent` with the last evaluation."""
        key = tuple(genome)
        value = self.problem.evaluate(key)
        self.steps.append((key, value))
        solved = not isinstance(value, tuple) and self.problem.solved_by(value)
        if not self.left or (self.stop_at_optimum and solved):
            raise BudgetSpent
        return value

    def number(self, genome: Sequence[int]) -> float:
        """The same of one objective, for optimisers that know neither several nor failures.

        A failure is as bad as the worst value so far.
        """
        value = self(genome)
        assert not isinstance(value, tuple), "this optimiser takes one objective"
        if math.isnan(value):
            seen = [v for _, v in self.steps if not isinstance(v, tuple) and not math.isnan(v)]
            return max(seen, default=0.0)
        return value

    def record(self) -> dict[str, Any]:
        """What the tables need. `best` is the least value, or, of several objectives, the volume
        that the front dominates; `regret` is what it lacks, in units of the problem's scale."""
        problem = self.problem
        failed = sum(not np.isfinite(value).all() for _, value in self.steps)
        best, found_at = self._volume() if problem.n_values > 1 else self._least()
        sign = -1.0 if problem.n_values > 1 else 1.0
        return {
            "best": best,
            "found_at": found_at,
            "solved": problem.solved_by(best) if sign > 0 else best >= problem.optimum - 1e-9,
            "regret": sign * (best - problem.optimum) / problem.scale,
            "n_evaluations": len(self.steps),
            "n_distinct": len({problem.key(genome) for genome, _ in self.steps}),
            "n_failed": failed,
            "time_s": round(self.time_s, 4),
            "cpu_s": round(self.cpu_s, 4),
        }

    def _least(self) -> tuple[float, int]:
        """The best value, without noise, and the evaluation that first reached it."""
        values = [math.inf if v != v else v for _, v in self.steps if not isinstance(v, tuple)]
        at = min(range(len(values)), key=values.__getitem__)
        if self.problem.truth is not None:
            return self.problem.truth(self.recommended or self.steps[at][0]), at + 1
        return values[at], at + 1

    def _volume(self) -> tuple[float, int]:
        import moocore

        points = np.array([value for _, value in self.steps if np.isfinite(value).all()])
        if not len(points):
            return 0.0, len(self.steps)
        volume = moocore.hypervolume(points, ref=np.array(self.problem.reference))
        return float(volume), len(self.steps)


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
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    with suppress(BudgetSpent):
        minimiser(trajectory, seed)
    trajectory.time_s = time.perf_counter() - start_s
    trajectory.cpu_s = time.process_time() - start_cpu_s
    return trajectory
