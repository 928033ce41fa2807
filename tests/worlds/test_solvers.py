"""Planners: A* finds what breadth-first search finds; the others reach the goal."""

from __future__ import annotations

import random

import pytest

from clso.errors import DataError
from clso.worlds.blocks import is_legal, move
from clso.worlds.problems import Problem, draw_problems, draw_state
from clso.worlds.scoring import score
from clso.worlds.solvers import (
    breadth_first,
    gn1_plan,
    lower_bound,
    optimal_plan,
    optimum,
    us_plan,
)


@pytest.mark.parametrize(("n", "n_starts"), [(3, 13), (4, 20), (5, 4)])
def test_a_star_agrees_with_breadth_first_search(n: int, n_starts: int) -> None:
    rng = random.Random(n)
    for _ in range(n_starts):
        start = draw_state(n, rng)
        for goal, depth in breadth_first(start).items():
            assert optimum(start, goal) == depth
            assert lower_bound(start, goal) <= depth


@pytest.mark.parametrize("n", [4, 8, 10])
def test_plans_are_legal_and_reach_the_goal(n: int) -> None:
    for problem in draw_problems(n, 30, "test", 0):
        least = optimal_plan(problem.start, problem.goal)
        plans = (gn1_plan(problem.start, problem.goal), us_plan(problem.start, problem.goal))
        for plan in (*plans, list(least)):
            state = problem.start
            for chosen in plan:
                assert is_legal(state, *chosen)
                state = move(state, *chosen)
            assert state == problem.goal
            assert lower_bound(problem.start, problem.goal) <= len(least) <= len(plan)


def test_with_many_blocks_nothing_is_called_optimal() -> None:
    (problem,) = draw_problems(12, 1, "test", 0)
    assert optimum(problem.start, problem.goal) is None
    with pytest.raises(DataError, match="at most 10 blocks"):
        optimal_plan(problem.start, problem.goal)
    n_moves = len(gn1_plan(problem.start, problem.goal))
    found = score([problem], [True], [n_moves])
    assert found.spl is None
    assert found.plan_ratio is None
    assert 0 < found.spl_low <= found.spl_high == 1.0


def test_spl_weighs_success_by_length() -> None:
    problem = Problem((-1, 0, 1), (1, 2, -1))  # three moves
    found = score([problem, problem, problem, problem], [True, True, False, True], [3, 6, 12, 4])
    assert found.spl == pytest.approx((1 + 1 / 2 + 0 + 3 / 4) / 4, abs=1e-12)
    assert found.success == 0.75
    assert found.plan_ratio == pytest.approx(13 / 9, abs=1e-12)
