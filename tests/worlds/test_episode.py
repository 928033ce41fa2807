"""What is remembered of an episode, and how practice goes."""

from __future__ import annotations

import random
from itertools import pairwise

import numpy as np
import pytest

from clso.worlds.batched import action_index, state_array, step
from clso.worlds.blocks import State, legal_moves, move
from clso.worlds.episode import Episodes
from clso.worlds.facts import ACTION_LEGAL, FACTS, LOCAL_BITS, Scene, final_bits, local_bits
from clso.worlds.practice import curriculum, loops_erased
from clso.worlds.problems import draw_state


def walk(state: State, n_steps: int, seed: int) -> tuple[list[State], Episodes]:
    """A random walk, illegal actions among its steps, taken in by `Episodes`."""
    rng, n, states = random.Random(seed), len(state), [state]
    episodes = Episodes.begin(
        state_array([state]), np.zeros(1, dtype=np.uint64), n_steps, None, np.array([n])
    )
    for _ in range(n_steps):
        chosen = rng.choice(legal_moves(states[-1])) if rng.random() < 0.8 else (0, 0)
        before = state_array([states[-1]])
        action = np.array([action_index(chosen, n)])
        after, moved = step(before, action)
        states.append(move(states[-1], *chosen))
        episodes.advance(before, after, action, moved, np.array([n]))
    return states, episodes


def cycles(states: list[State]) -> int:
    """Independent cycles of the walk's graph: edges less the rank of the boundary map."""
    names = {state: i for i, state in enumerate(dict.fromkeys(states))}
    pairs = pairwise(states)
    edges = {frozenset((names[a], names[b])) for a, b in pairs if a != b}
    boundary = np.zeros((len(names), len(edges)))
    for column, edge in enumerate(edges):
        low, high = sorted(edge)
        boundary[low, column], boundary[high, column] = -1, 1
    return len(edges) - int(np.linalg.matrix_rank(boundary)) if edges else 0


@pytest.mark.parametrize("seed", range(12))
def test_betti_counts_the_cycles_of_the_walk(seed: int) -> None:
    states, episodes = walk(draw_state(3, random.Random(seed)), 25, seed)
    assert episodes.betti.tolist() == [cycles(states)]


def test_betti_is_that_of_gudhi() -> None:
    gudhi = pytest.importorskip("gudhi", reason="the oracle gudhi is not installed")
    for seed in range(6):
        states, episodes = walk(draw_state(3, random.Random(seed)), 25, seed)
        tree = gudhi.SimplexTree()
        names = {state: i for i, state in enumerate(dict.fromkeys(states))}
        for name in names.values():
            tree.insert([name])
        for a, b in pairwise(states):
            if a != b:
                tree.insert([names[a], names[b]])
        tree.compute_persistence(persistence_dim_max=True)
        numbers = [*tree.betti_numbers(), 0]
        assert episodes.betti.tolist() == [numbers[1]]


def test_revisits_are_counted() -> None:
    a, b = (-1, -1, -1), (1, -1, -1)
    episodes = Episodes.begin(
        state_array([a]), np.zeros(1, dtype=np.uint64), 4, None, np.array([2])
    )
    for before, after, chosen in ((a, b, (0, 1)), (b, a, (0, -1)), (a, a, (0, -1)), (a, b, (0, 1))):
        action = np.array([action_index(chosen, 3)])
        moved = np.array([before != after])
        arrays = state_array([before]), state_array([after])
        episodes.advance(*arrays, action, moved, np.array([2]))
    assert episodes.n_revisits.tolist() == [2]
    assert episodes.stalled.tolist() == [4]
    assert episodes.betti.tolist() == [0]  # one edge, walked to and fro


def test_loops_are_erased() -> None:
    assert loops_erased([1, 2, 3]) == [0, 1]
    assert loops_erased([1, 2, 1, 3]) == [2]
    assert loops_erased([1, 1, 2, 3, 2, 4, 5]) == [1, 4, 5]
    assert loops_erased([1, 2, 3, 4, 2, 5]) == [0, 4]
    assert loops_erased([1, 2, 3, 1, 2, 4]) == [3, 4]


def test_an_erased_walk_is_a_path_to_the_same_end() -> None:
    for seed in range(20):
        states, _ = walk(draw_state(3, random.Random(seed)), 30, seed)
        names = {state: i for i, state in enumerate(dict.fromkeys(states))}
        kept = loops_erased([names[s] for s in states])
        path = [states[i] for i in kept]
        assert len(set(path)) == len(path)
        ends = [*path[1:], states[-1]]
        assert [states[i + 1] for i in kept] == ends


def test_practice_rises() -> None:
    assert curriculum(5, 400) == [(3, 100), (4, 100), (5, 200)]
    assert curriculum(20, 400) == curriculum(5, 400)
    assert curriculum(4, 5) == [(3, 2), (4, 3)]
    assert curriculum(3, 7) == [(3, 7)]
    assert curriculum(5, 9, rising=False) == [(5, 9)]
    assert all(sum(k for _, k in curriculum(5, n)) == n for n in range(9))


def test_local_facts_are_at_most_sixteen_and_know_what_is_legal() -> None:
    assert LOCAL_BITS <= 16
    assert len(set(FACTS)) == len(FACTS)
    rng = random.Random(0)
    states = [draw_state(5, rng) for _ in range(40)]
    goals = [draw_state(5, rng) for _ in range(40)]
    facts = local_bits(Scene.of(state_array(states), state_array(goals)))
    with_, without = ACTION_LEGAL
    legal = ((facts & with_) == with_) & ((facts & without) == 0)
    for state, row in zip(states, legal, strict=True):
        expected = {action_index(chosen, 5) for chosen in legal_moves(state)}
        assert set(np.flatnonzero(row).tolist()) == expected


def test_there_are_so_many_patterns() -> None:
    rng = random.Random(0)
    local: set[int] = set()
    both: set[int] = set()
    for n in (3, 4, 5, 6, 8):
        below, goal = (state_array([draw_state(n, rng) for _ in range(1000)]) for _ in range(2))
        scene = Scene.of(below, goal)
        facts = local_bits(scene)
        local |= set(np.unique(facts).tolist())
        both |= set(np.unique(facts | final_bits(scene)).tolist())
    assert len(local) <= 252
    assert len(both) <= 360
    assert max(local) < 1 << LOCAL_BITS
