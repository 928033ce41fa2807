"""Many problems of one size at once, in numpy. It moves as `clso.worlds.blocks` does.

Shapes: B problems, n blocks, A = n (n + 1) actions. Action a = b (n + 1) + t puts block b on block t, or on
the table with t = n.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from clso.worlds.blocks import TABLE, Move, State
from clso.worlds.draws import Words, mix_array

__all__ = [
    "Bools",
    "Ints",
    "action_index",
    "action_move",
    "carrier",
    "clear",
    "final",
    "n_actions",
    "state_array",
    "state_hash",
    "step",
    "zobrist",
]

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


def n_actions(n: int) -> int:
    """Actions of a world with `n` blocks, legal or not."""
    return n * (n + 1)


def action_index(chosen: Move, n: int) -> int:
    """The number of a move."""
    block, target = chosen
    return block * (n + 1) + (n if target == TABLE else target)


def action_move(action: int, n: int) -> Move:
    """The move with a number."""
    block, target = divmod(action, n + 1)
    return block, TABLE if target == n else target


def state_array(states: Sequence[State]) -> Ints:
    """(B, n) of states with n blocks each."""
    return np.array(states, dtype=np.int64)


def carrier(below: Ints) -> Ints:
    """(B, n + 1): the block on each block, -1 for none; the last column, the table's, is -1."""
    rows, n = below.shape
    out = np.full((rows, n + 1), -1, dtype=np.int64)
    at = np.broadcast_to(np.arange(rows)[:, None], below.shape)
    out[at, below] = np.arange(n)
    out[:, n] = -1  # below -1 wrote there
    return out


def clear(below: Ints) -> Bools:
    """(B, n + 1): nothing stands on it; always true for the table, the last column."""
    return carrier(below) < 0


def final(below: Ints, goal: Ints) -> Bools:
    """(B, n + 1): it and all below it stand on what the goal says; true for the table, the last column."""
    rows, n = below.shape
    right = below == goal
    out = np.ones((rows, n + 1), dtype=np.bool_)
    out[:, :n] = right
    at = np.arange(rows)[:, None]
    while True:
        new = right & out[at, below]
        if (new == out[:, :n]).all():
            return out
        out[:, :n] = new


def step(below: Ints, actions: Ints) -> tuple[Ints, Bools]:
    """The states after one action each, and whether it was legal. `below` is left as it is."""
    rows, n = below.shape
    block, column = actions // (n + 1), actions % (n + 1)
    target = np.where(column == n, TABLE, column)
    free, at = clear(below), np.arange(rows)
    legal = free[at, block] & free[at, column] & (block != target) & (below[at, block] != target)
    after = below.copy()
    after[at[legal], block[legal]] = target[legal]
    return after, legal


def zobrist(n: int) -> Words:
    """(n, n + 1) words: one for each block and what it stands on, the table last."""
    return mix_array(np.arange(n * (n + 1), dtype=np.uint64).reshape(n, n + 1), n)


def state_hash(below: Ints) -> Words:
    """(B,): the sum of the words of what stands on what; a move changes one of them."""
    n = below.shape[1]
    words = zobrist(n)[np.arange(n), below]
    total: Words = words.sum(axis=1, dtype=np.uint64)
    return total
