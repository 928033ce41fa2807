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
        self.n_cheap = 0
        """Calls of the lower rung."""
        self.stated: tuple[Genome, float] | None = None
        """What the optimiser says is best, and its value; None: what it saw the least value of."""
        self.notes: dict[str, float] = {}
        """What an optimiser says of its run."""
        self.time_s = self.cpu_s = 0.0

    @property
    def left(self) -> float:
        """Evaluations that may still be made."""
        cost = self.problem.cheap[0] if self.problem.cheap else 0.0
        return self.n_evaluations - len(self.steps) - cost * self.n_cheap

    def __call__(self, genome: Sequence[int]) -> Value:
        """What is to be small; NaN if it failed. Raises `BudgetSpent` with the last evaluation."""
        key = tuple(genome)
        value = self.problem.evaluate(key)
        self.steps.append((key, value))
        solved = not isinstance(value, tuple) and self.problem.solved_by(value)
        if self.left < 1 or (self.stop_at_optimum and solved):
            raise BudgetSpent
        return value

    def cheaply(self, genome: Sequence[int]) -> float:
        """What the lower rung says, for a share of an evaluation. Raises `BudgetSpent` with the
        last."""
        assert self.problem.cheap is not None, "there is one rung"
        cost, evaluate = self.problem.cheap
        self.n_cheap += 1
        if self.left < cost:
            raise BudgetSpent
        return evaluate(tuple(genome))

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
        that the front dominates; `regret` is what it lacks, in units of the problem's scale, and
        `regret_third` what it lacked after a third of the evaluations."""
        problem = self.problem
        several = problem.n_values > 1
        failed = sum(not np.isfinite(value).all() for _, value in self.steps)
        best, found_at = self._volume() if several else self._least()
        solved = best >= problem.optimum - 1e-9 if several else problem.solved_by(best)
        row = {
            "best": best,
            "found_at": found_at,
            "solved": solved,
            "regret": self._regret(best),
            "n_evaluations": len(self.steps),
            "n_distinct": len({problem.key(genome) for genome, _ in self.steps}),
            "n_failed": failed,
            "time_s": round(self.time_s, 4),
            "cpu_s": round(self.cpu_s, 4),
            **self.notes,
        }
        if not several:
            third = self._seen_least(max(1, len(self.steps) // 3))
            row["regret_third"] = self._regret(self._true(*third[:2]))
        if problem.truth is not None:
            row["too_good"] = best - self._statement()[1]
        if self.n_cheap:
            row["n_cheap"] = self.n_cheap
        return row

    def _regret(self, best: float) -> float:
        sign = -1.0 if self.problem.n_values > 1 else 1.0
        return sign * (best - self.problem.optimum) / self.problem.scale

    def _seen_least(self, n: int) -> tuple[Genome, float, int]:
        """The genome of the least of the first `n` values, that value, and which evaluation first
        reached it."""
        values = [math.inf if v != v else v for _, v in self.steps[:n] if not isinstance(v, tuple)]
        at = min(range(len(values)), key=values.__getitem__)
        return self.steps[at][0], values[at], at + 1

    def _statement(self) -> tuple[Genome, float]:
        return self.stated or self._seen_least(len(self.steps))[:2]

    def _true(self, genome: Genome, value: float) -> float:
        return value if self.problem.truth is None else self.problem.truth(genome)

    def _least(self) -> tuple[float, int]:
        """The best value, without noise, and the evaluation that first reached the least one."""
        return self._true(*self._statement()), self._seen_least(len(self.steps))[2]

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
