"""The batched world and its random numbers are those of plain Python."""

from __future__ import annotations

import random

import numpy as np

from clso.worlds.batched import (
    action_index,
    action_move,
    final,
    n_actions,
    state_array,
    state_hash,
    step,
)
from clso.worlds.blocks import TABLE, in_final_position, is_legal, move
from clso.worlds.draws import mix, mix_array, mix_each, uniform, uniform_array
from clso.worlds.problems import draw_state
from clso.worlds.solvers import breadth_first


def test_actions_have_numbers() -> None:
    n = 4
    moves = [action_move(action, n) for action in range(n_actions(n))]
    assert moves[:6] == [(0, 0), (0, 1), (0, 2), (0, 3), (0, TABLE), (1, 0)]
    assert [action_index(chosen, n) for chosen in moves] == list(range(n_actions(n)))


def test_every_action_does_what_plain_python_does() -> None:
    rng = random.Random(0)
    for n in (3, 5, 9):
        states = [draw_state(n, rng) for _ in range(20)]
        for action in range(n_actions(n)):
            after, moved = step(state_array(states), np.full(len(states), action))
            chosen = action_move(action, n)
            assert [tuple(row) for row in after.tolist()] == [move(s, *chosen) for s in states]
            assert moved.tolist() == [is_legal(s, *chosen) for s in states]


def test_final_positions_are_those_of_plain_python() -> None:
    rng = random.Random(1)
    for n in (3, 6, 12):
        pairs = [(draw_state(n, rng), draw_state(n, rng)) for _ in range(50)]
        pairs += [(goal, goal) for _, goal in pairs[:5]]
        found = final(state_array([s for s, _ in pairs]), state_array([g for _, g in pairs]))
        assert found[:, :n].tolist() == [in_final_position(*pair) for pair in pairs]
        assert found[:, n].all()


def test_different_states_have_different_hashes() -> None:
    states = sorted(breadth_first((TABLE,) * 5))
    assert len(set(state_hash(state_array(states)).tolist())) == len(states)


def test_draws_are_those_of_plain_python() -> None:
    words = [0, 1, 2**63, 2**64 - 1]
    for counters in ((), (0,), (-1, 7), (3, 10**6)):
        assert mix_array(words, *counters).tolist() == [mix(w, *counters) for w in words]
        drawn = uniform_array(words, *counters).tolist()
        assert drawn == [uniform(w, *counters) for w in words]
        assert all(0 <= u < 1 for u in drawn)
    assert mix_each(words, 3) == [mix(w, 3) for w in words] == mix_array(words, 3).tolist()


def test_draws_are_spread() -> None:
    drawn = uniform_array(np.zeros(20_000, dtype=np.uint64), np.arange(20_000))
    counts = np.bincount((drawn * 20).astype(int), minlength=20)
    assert ((counts - 1000) ** 2 / 1000).sum() < 43.8  # chi-square, 19 degrees, 1 in 1,000
