"""Planners that know the world: US and GN1, and A* for the least number of moves.

Slaney & Thiebaux 2001 (Blocks World revisited, doi:10.1016/S0004-3702(00)00079-5). Some shortest plan
moves every block at most twice: to the table, if at all, and to its final position; and a move to a final
position, if there is one, is never wrong. So A* branches only over what is put on the table.
"""

from __future__ import annotations

import heapq
from collections import deque
from functools import lru_cache

from clso.errors import DataError
from clso.worlds.blocks import TABLE, Move, State, above, in_final_position, legal_moves, move

__all__ = [
    "EXACT_BLOCKS",
    "breadth_first",
    "gn1_move",
    "gn1_plan",
    "lower_bound",
    "optimal_plan",
    "optimum",
    "us_move",
    "us_plan",
]

EXACT_BLOCKS = 10
"""Up to so many blocks the least number of moves is computed."""


def constructive_move(state: State, goal: State) -> Move | None:
    """A move of a clear block to its final position, the first by block; None: there is none."""
    final, on = in_final_position(state, goal), above(state)
    for block, target in enumerate(goal):
        if final[block] or on[block] >= 0:
            continue
        if target == TABLE or (final[target] and on[target] < 0):
            return block, target
    return None


def _to_table(state: State, goal: State) -> list[Move]:
    """Clear blocks out of their final position that stand on another block."""
    final, on = in_final_position(state, goal), above(state)
    movable = (b for b, t in enumerate(state) if on[b] < 0 and t != TABLE and not final[b])
    return [(b, TABLE) for b in movable]


def gn1_move(state: State, goal: State) -> Move:
    """The next move of GN1: a constructive one, else any clear misplaced block goes to the table."""
    return constructive_move(state, goal) or _to_table(state, goal)[0]


def us_move(state: State, goal: State) -> Move:
    """The next move of US: all misplaced blocks go to the table before any is stacked."""
    unstack = _to_table(state, goal)
    if unstack:
        return unstack[0]
    found = constructive_move(state, goal)
    assert found is not None, "with all misplaced blocks on the table one can be stacked"
    return found


def gn1_plan(start: State, goal: State) -> list[Move]:
    """All moves of GN1; at most twice as many as the least."""
    state, moves = start, list[Move]()
    while state != goal:
        moves.append(gn1_move(state, goal))
        state = move(state, *moves[-1])
    return moves


def us_plan(start: State, goal: State) -> list[Move]:
    """All moves of US; at most twice as many as the least."""
    state, moves = start, list[Move]()
    while state != goal:
        moves.append(us_move(state, goal))
        state = move(state, *moves[-1])
    return moves


def lower_bound(state: State, goal: State) -> int:
    """Moves that are needed at least: one for each block out of its final position, and one more for each
    that has one to leave from under it first.

    A misplaced block that stands above its own goal support, in the same tower, moves twice: the support, or
    a block between the two, is to be moved first, and so this one has to leave.
    """
    final = in_final_position(state, goal)
    moves = final.count(False)
    for block, target in enumerate(goal):
        if final[block] or target == TABLE:
            continue
        under = state[block]
        while under not in (TABLE, target):
            under = state[under]
        moves += under == target
    return moves


@lru_cache(maxsize=65536)
def optimal_plan(start: State, goal: State) -> tuple[Move, ...]:
    """A shortest plan, by A*. Raises `DataError` with more than `EXACT_BLOCKS` blocks."""
    if len(start) > EXACT_BLOCKS:
        raise DataError(f"optimal plans are for at most {EXACT_BLOCKS} blocks", got=len(start))
    queue: list[tuple[int, int, State]] = [(lower_bound(start, goal), 0, start)]
    cost: dict[State, int] = {start: 0}
    came: dict[State, tuple[State, Move]] = {}
    while queue:
        _, minus_cost, state = heapq.heappop(queue)
        so_far = -minus_cost
        if state == goal:
            return _path(came, state)
        if so_far > cost[state]:
            continue
        found = constructive_move(state, goal)
        for chosen in [found] if found else _to_table(state, goal):
            after = move(state, *chosen)
            if so_far + 1 < cost.get(after, 1 << 30):
                cost[after], came[after] = so_far + 1, (state, chosen)
                bound = so_far + 1 + lower_bound(after, goal)
                heapq.heappush(queue, (bound, -(so_far + 1), after))
    raise AssertionError("every goal can be reached")


def _path(came: dict[State, tuple[State, Move]], state: State) -> tuple[Move, ...]:
    moves = []
    while state in came:
        state, chosen = came[state]
        moves.append(chosen)
    return tuple(reversed(moves))


def optimum(start: State, goal: State) -> int | None:
    """The least number of moves; None with more than `EXACT_BLOCKS` blocks, if it is not computed."""
    return len(optimal_plan(start, goal)) if len(start) <= EXACT_BLOCKS else None


def breadth_first(start: State) -> dict[State, int]:
    """The least number of moves from `start` to every state. For few blocks: it visits them all."""
    depth, queue = {start: 0}, deque([start])
    while queue:
        state = queue.popleft()
        for chosen in legal_moves(state):
            after = move(state, *chosen)
            if after not in depth:
                depth[after] = depth[state] + 1
                queue.append(after)
    return depth
