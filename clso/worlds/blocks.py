"""Blocks World in plain Python: states, moves and what can be said of a state. The reference.

A state is a tuple `below`: `below[b]` is the block that b stands on, `TABLE` (-1) for the table.
A move (b, t) puts block b on block t, or on the table. One that is illegal changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb, factorial

from clso.errors import DataError

__all__ = [
    "MAX_BLOCKS",
    "MIN_BLOCKS",
    "TABLE",
    "Move",
    "State",
    "above",
    "check_blocks",
    "check_state",
    "in_final_position",
    "is_legal",
    "legal_moves",
    "move",
    "n_states",
    "step_limit",
]

State = tuple[int, ...]
Move = tuple[int, int]

TABLE = -1
MIN_BLOCKS, MAX_BLOCKS = 3, 20
_STEPS_PER_BLOCK = 4


def check_blocks(n: int) -> int:
    """`n`, if it is a number of blocks. Raises `DataError`."""
    if not MIN_BLOCKS <= n <= MAX_BLOCKS:
        raise DataError(f"a Blocks World has {MIN_BLOCKS} to {MAX_BLOCKS} blocks", got=n)
    return n


def step_limit(n: int) -> int:
    """Steps after which an episode with `n` blocks ends unsolved."""
    return _STEPS_PER_BLOCK * n


def check_state(below: Sequence[int], *, of: str = "a state") -> State:
    """`below` as a state. Raises `DataError` for one that no blocks can stand in."""
    n = len(below)
    check_blocks(n)
    if any(isinstance(t, bool) or not isinstance(t, int) or not TABLE <= t < n for t in below):
        raise DataError(f"{of} names blocks 0 to {n - 1}, and -1 for the table", got=list(below))
    carried = [t for t in below if t != TABLE]
    if len(set(carried)) < len(carried):
        raise DataError(f"in {of} a block carries at most one", got=list(below))
    for block in range(n):
        under, height = below[block], 1
        while under != TABLE:
            under, height = below[under], height + 1
            if height > n:
                raise DataError(f"in {of} no tower is a cycle", got=list(below))
    return tuple(below)


def above(state: State) -> list[int]:
    """For each block the one that stands on it, -1 if it is clear."""
    out = [-1] * len(state)
    for block, under in enumerate(state):
        if under != TABLE:
            out[under] = block
    return out


def is_legal(state: State, block: int, target: int) -> bool:
    """Whether the move changes anything: both clear, not the same, not there already."""
    if block == target or state[block] == target or block in state:
        return False
    return target == TABLE or target not in state


def move(state: State, block: int, target: int) -> State:
    """The state after a move; the same one if the move is illegal."""
    if not is_legal(state, block, target):
        return state
    return (*state[:block], target, *state[block + 1 :])


def legal_moves(state: State) -> list[Move]:
    """All of them, by block, then target, the table last."""
    n = len(state)
    targets = [*range(n), TABLE]
    return [(b, t) for b in range(n) for t in targets if is_legal(state, b, t)]


def in_final_position(state: State, goal: State) -> list[bool]:
    """For each block whether it, and all below it, stand on what the goal says."""
    found: dict[int, bool] = {TABLE: True}

    def final(block: int) -> bool:
        if block not in found:
            found[block] = state[block] == goal[block] and final(state[block])
        return found[block]

    return [final(block) for block in range(len(state))]


def n_states(n: int) -> int:
    """How many states `n` blocks have: 13 for 3, 73, 501, 4,051, ... (OEIS A000262).

    They are sets of lists, of which there are C(n - 1, k - 1) n! / k! with k towers.
    """
    return sum(comb(n - 1, k - 1) * factorial(n) // factorial(k) for k in range(1, n + 1))
