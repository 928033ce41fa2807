"""Facts: bits that say what an action would do here. A bit pattern is what S1 and S4 count by.

Thirteen are local: each follows from `below`, the goal and what is clear, of the block, of its target and of
what these stand on or should. S2 adds two about the episode so far, S5 two that are recursive. The facts name
no block and no number of blocks, so that what is counted with three blocks holds with ten.

The goal as it is seen may be hidden: then it is all `HIDDEN`, and no fact that asks for it is true.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from clso.worlds.batched import Bools, Ints, clear, final, zobrist
from clso.worlds.episode import Episodes

__all__ = [
    "ACTION_LEGAL",
    "FACTS",
    "HIDDEN",
    "LOCAL_BITS",
    "N_BITS",
    "Scene",
    "bit",
    "final_bits",
    "local_bits",
    "move_bits",
]

HIDDEN = -2

FACTS = (
    "block-clear",
    "block-on-its-goal-support",
    "goal-support-is-table",
    "goal-support-clear",
    "goal-support-on-its-own",
    "support-on-its-own",
    "block-on-table",
    "target-is-table",
    "target-clear",
    "target-on-its-own",
    "target-is-goal-support",
    "target-is-block",
    "target-is-support",
    "undoes-last-move",
    "returns-to-visited",
    "block-in-final-position",
    "target-in-final-position",
)
"""Bit i of a pattern is fact i. The first 13 are local, the next two are S2's, the last two S5's."""

N_BITS = len(FACTS)
LOCAL_BITS = FACTS.index("undoes-last-move")


def bit(name: str) -> int:
    """The pattern in which only this fact is true."""
    return 1 << FACTS.index(name)


ACTION_LEGAL = (
    bit("block-clear") | bit("target-clear"),
    bit("target-is-block") | bit("target-is-support"),
)
"""Facts that a legal action has, and that it has not. Only the Purple Line's responses are wired to them."""


@dataclass(frozen=True)
class Scene:
    """B states with their goals as seen, and what facts and levels ask of them. The table is the last column."""

    below: Ints
    """(B, n)."""
    goal: Ints
    """(B, n); all `HIDDEN` if it is not shown."""
    clear: Bools
    """(B, n + 1)."""
    right: Bools
    """(B, n + 1): stands on its goal support; true for the table."""
    final: Bools
    """(B, n + 1): in final position; true for the table."""

    @classmethod
    def of(cls, below: Ints, goal: Ints) -> Scene:
        rows, n = below.shape
        right = np.ones((rows, n + 1), dtype=np.bool_)
        right[:, :n] = below == goal
        return cls(below, goal, clear(below), right, final(below, goal))

    @property
    def n_blocks(self) -> int:
        n: int = self.below.shape[1]
        return n

    def rows(self, chosen: Ints | Bools) -> Scene:
        """Some of the states."""
        return Scene(
            self.below[chosen],
            self.goal[chosen],
            self.clear[chosen],
            self.right[chosen],
            self.final[chosen],
        )


def local_bits(scene: Scene) -> Ints:
    """(B, A): the local facts of every action."""
    below, goal = scene.below, scene.goal
    rows, n = below.shape
    at = np.arange(rows)[:, None]
    shown = goal != HIDDEN
    support = np.where(shown, goal, -1)  # a hidden goal's column is masked out below
    of_block = (
        scene.clear[:, :n] * bit("block-clear")
        | scene.right[:, :n] * bit("block-on-its-goal-support")
        | (goal == -1) * bit("goal-support-is-table")
        | (shown & scene.clear[at, support]) * bit("goal-support-clear")
        | (shown & scene.right[at, support]) * bit("goal-support-on-its-own")
        | scene.right[at, below] * bit("support-on-its-own")
        | (below == -1) * bit("block-on-table")
    )
    of_target = (
        scene.clear * bit("target-clear")
        | scene.right * bit("target-on-its-own")
        | (np.arange(n + 1) == n) * bit("target-is-table")
    )
    column = np.arange(n + 1)
    wanted, under = np.where(goal == -1, n, goal), np.where(below == -1, n, below)
    of_both = (
        (wanted[:, :, None] == column) * bit("target-is-goal-support")
        | (np.arange(n)[:, None] == column) * bit("target-is-block")
        | (under[:, :, None] == column) * bit("target-is-support")
    )
    bits: Ints = (of_block[:, :, None] | of_target[:, None, :] | of_both).reshape(rows, -1)
    return bits


def final_bits(scene: Scene) -> Ints:
    """(B, A): S5's facts of every action."""
    n = scene.n_blocks
    of_block = scene.final[:, :n] * bit("block-in-final-position")
    of_target = scene.final * bit("target-in-final-position")
    bits: Ints = (of_block[:, :, None] | of_target[:, None, :]).reshape(-1, n * (n + 1))
    return bits


def move_bits(scene: Scene, episodes: Episodes) -> Ints:
    """(B, A): whether an action undoes the last move, and whether it returns to a state visited before."""
    below, n = scene.below, scene.n_blocks
    rows = np.arange(len(below))
    column = np.arange(n + 1)
    undoes = (np.arange(n) == episodes.last_block[:, None])[:, :, None] & (
        column == episodes.last_from[:, None]
    )[:, None, :]
    words = zobrist(n)
    leaves = episodes.hashes[:, None] - words[np.arange(n), below]
    there = (leaves[:, :, None] + words).reshape(len(rows), -1)
    returns = np.zeros(there.shape, dtype=np.bool_)
    for i in range(episodes.step):  # the present state, at `step`, is not returned to
        returns |= there == episodes.visited[:, i, None]
    undone: Ints = undoes.reshape(len(rows), -1) * bit("undoes-last-move")
    bits: Ints = undone | returns * bit("returns-to-visited")
    return bits
