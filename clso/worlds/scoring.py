"""What a controller's plans are worth: success, SPL and length against the least number of moves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from clso.worlds.problems import Problem
from clso.worlds.solvers import gn1_plan, lower_bound, optimum

__all__ = ["Score", "score"]


@dataclass(frozen=True)
class Score:
    """Of plans for `n_problems`. With more than `EXACT_BLOCKS` blocks the least number of moves is not known: there are
    only bounds, from an admissible one and from GN1, and no SPL."""

    n_problems: int
    success: float
    spl: float | None
    """Mean of solved x least / taken (success weighted by path length, Anderson et al. 2018, arXiv:1807.06757)."""
    spl_low: float
    spl_high: float
    plan_ratio: float | None
    """Moves taken over least moves, both summed over the solved problems; None: nothing solved, or not known."""
    gn1_ratio: float | None
    """The same against GN1's moves."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def score(problems: Sequence[Problem], solved: Sequence[bool], steps: Sequence[int]) -> Score:
    """The score of plans that took `steps`, illegal ones included; of any mixture of sizes."""
    low = high = spl = 0.0
    taken = least = by_gn1 = 0
    known = True
    for problem, done, length in zip(problems, solved, steps, strict=True):
        exact = optimum(problem.start, problem.goal)
        known &= exact is not None
        if not done:
            continue
        gn1 = len(gn1_plan(problem.start, problem.goal))
        below = lower_bound(problem.start, problem.goal) if exact is None else exact
        low, high = (
            low + below / length,
            high + min(gn1 if exact is None else exact, length) / length,
        )
        spl += 0.0 if exact is None else exact / length
        taken, least, by_gn1 = taken + int(length), least + below, by_gn1 + gn1
    n = len(problems)
    return Score(
        n_problems=n,
        success=sum(map(bool, solved)) / n,
        spl=spl / n if known else None,
        spl_low=low / n,
        spl_high=high / n,
        plan_ratio=taken / least if known and least else None,
        gn1_ratio=taken / by_gn1 if by_gn1 else None,
    )
