"""Policies that learn nothing: random ones, a greedy one, and planners that know the world."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from clso.baselines.control.play import Turn
from clso.worlds.batched import Ints, action_index
from clso.worlds.blocks import Move, State
from clso.worlds.draws import uniform_array
from clso.worlds.facts import ACTION_LEGAL, bit, local_bits
from clso.worlds.solvers import gn1_move, optimal_plan, us_move

__all__ = ["FIXED", "Planner", "Scored"]


class Scored:
    """Draws uniformly among the actions that score best."""

    def __init__(self, scores: Callable[[Ints], Ints]) -> None:
        """`scores` takes the local facts (B, A) of every action and gives a score (B, A) each."""
        self._scores = scores

    def act(self, turn: Turn) -> Ints:
        scores = self._scores(local_bits(turn.scene))
        best = scores == scores.max(axis=1, keepdims=True)
        draws = uniform_array(turn.episodes.stream, turn.episodes.step)
        wanted = np.floor(draws * best.sum(axis=1)).astype(np.int64)
        chosen: Ints = (np.cumsum(best, axis=1) == wanted[:, None] + 1).argmax(axis=1)
        return chosen


class Planner:
    """Asks a planner for the next move, state by state."""

    def __init__(self, next_move: Callable[[State, State], Move]) -> None:
        self._next = next_move

    def act(self, turn: Turn) -> Ints:
        n = turn.scene.n_blocks
        both = zip(turn.scene.below.tolist(), turn.scene.goal.tolist(), strict=True)
        moves = [self._next(tuple(below), tuple(goal)) for below, goal in both]
        return np.array([action_index(chosen, n) for chosen in moves], dtype=np.int64)


def _legal(facts: Ints) -> Ints:
    with_, without = ACTION_LEGAL
    legal: Ints = (((facts & with_) == with_) & ((facts & without) == 0)).astype(np.int64)
    return legal


def _gain(facts: Ints) -> Ints:
    """Legal actions by the supports that they put in place; illegal ones last."""
    into = (facts & bit("target-is-goal-support")) != 0
    out = (facts & bit("block-on-its-goal-support")) != 0
    gained: Ints = np.where(_legal(facts) > 0, into.astype(np.int64) - out, -2)
    return gained


FIXED: dict[str, Callable[[], Scored | Planner]] = {
    "random": lambda: Scored(np.zeros_like),
    "legal": lambda: Scored(_legal),
    "greedy": lambda: Scored(_gain),
    "gn1": lambda: Planner(gn1_move),
    "us": lambda: Planner(us_move),
    "optimal": lambda: Planner(lambda state, goal: optimal_plan(state, goal)[0]),
}
