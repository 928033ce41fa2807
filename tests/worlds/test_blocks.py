"""States and moves: how many there are, what is legal, what is refused."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from clso.errors import DataError
from clso.worlds.blocks import (
    TABLE,
    check_state,
    in_final_position,
    is_legal,
    legal_moves,
    move,
    n_states,
)
from clso.worlds.problems import draw_state
from clso.worlds.solvers import breadth_first


def test_there_are_as_many_states_as_sets_of_lists() -> None:
    assert [n_states(n) for n in range(3, 7)] == [13, 73, 501, 4051]
    assert len(breadth_first((TABLE,) * 4)) == n_states(4)


def test_states_are_drawn_uniformly() -> None:
    rng = random.Random(0)
    n_draws = 13_000
    counts = Counter(draw_state(3, rng) for _ in range(n_draws))
    assert len(counts) == 13
    mean = n_draws / 13
    # chi-square with 12 degrees of freedom is below 32.9 in 999 of 1,000 cases
    assert sum((c - mean) ** 2 / mean for c in counts.values()) < 32.9


def test_an_illegal_move_changes_nothing() -> None:
    state = (TABLE, 0, TABLE)  # 1 on 0, and 2
    for chosen in ((0, TABLE), (0, 2), (2, 0), (1, 0), (1, 1), (2, TABLE)):
        assert not is_legal(state, *chosen)
        assert move(state, *chosen) == state
    assert legal_moves(state) == [(1, 2), (1, TABLE), (2, 1)]
    assert move(state, 1, 2) == (TABLE, 2, TABLE)


def test_final_position_asks_for_all_below() -> None:
    goal = (TABLE, 0, 1)
    assert in_final_position((TABLE, 0, 1), goal) == [True, True, True]
    assert in_final_position((TABLE, TABLE, 1), goal) == [True, False, False]


@pytest.mark.parametrize(
    ("below", "rule"),
    [
        ([1, 2, 0], "no tower is a cycle"),
        ([2, 2, TABLE], "a block carries at most one"),
        ([TABLE, 3, TABLE], "names blocks 0 to 2"),
        ([TABLE, True, TABLE], "names blocks 0 to 2"),
        ([TABLE, 0], "3 to 20 blocks"),
        ([TABLE] * 21, "3 to 20 blocks"),
    ],
)
def test_what_no_blocks_can_stand_in_is_refused(below: list[int], rule: str) -> None:
    with pytest.raises(DataError, match=rule):
        check_state(below)
