"""S2, habits: what was done before in the same situation, and two facts about the episode so far (in `facts`).

A situation is a state and a goal with names removed: every block has a colour, a hash of what stands under and on
it in state and goal, refined until it has seen all that is connected to it. A habit is kept as the colours of the
block and the target, so it holds for all names, and is found again by its situation's key.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from clso.worlds.batched import Bools, Ints, carrier
from clso.worlds.draws import Words, mix_array
from clso.worlds.facts import HIDDEN, Scene

__all__ = ["HabitTable", "Situations"]

_TABLE_COLOUR = np.uint64(0)


@dataclass(frozen=True)
class Situations:
    """B situations: their keys, and the colours of the blocks; the table's colour is the last column."""

    keys: Words
    """(B,)."""
    colours: Words
    """(B, n + 1)."""

    @classmethod
    def of(cls, scene: Scene) -> Situations:
        """The situations of scenes.

        Neighbours' colours alone cannot tell two rings of blocks from one ring twice as long: so a block's first
        colour is how many it is connected to.
        """
        below, goal = scene.below, np.where(scene.goal == HIDDEN, -1, scene.goal)
        rows, n = below.shape
        at = np.arange(rows)[:, None]
        neighbours = [below, goal, carrier(below)[:, :n], carrier(goal)[:, :n]]
        near = np.zeros((rows, n + 1, n + 1), dtype=np.float32)
        near[:, np.arange(n), np.arange(n)] = 1
        for other in neighbours:
            near[at, np.arange(n), other] = 1  # -1 is the last column, the table's, dropped next
        near = near[:, :n, :n]
        for _ in range(n.bit_length()):
            near = np.minimum(near @ near, 1)
        colours = np.zeros((rows, n + 1), dtype=np.uint64)
        colours[:, :n] = mix_array(near.sum(axis=2).astype(np.uint64))
        for _ in range(n):
            new = colours[:, :n]
            for turn, other in enumerate(neighbours):
                new = mix_array(new ^ colours[at, other], turn)
            colours = np.concatenate([new, colours[:, n:]], axis=1)
        keys: Words = mix_array(colours[:, :n]).sum(axis=1, dtype=np.uint64)
        return cls(mix_array(keys, n), colours)


Habit = tuple[int, int]
"""Colours of a block and its target, 0 for the table."""


@dataclass
class HabitTable:
    """Counts of what was done in each situation, of which the best supported rows act."""

    n_rows: int
    support: int
    confidence: float
    counts: dict[int, dict[Habit, int]] = field(default_factory=dict)
    keys: Words = field(default_factory=lambda: np.zeros(0, dtype=np.uint64))
    """(R,), rising: of the rows that act."""
    habits: Words = field(default_factory=lambda: np.zeros((0, 2), dtype=np.uint64))
    """(R, 2)."""

    def count(self, key: int, habit: Habit) -> None:
        """Something was done in a situation, on the way to a goal."""
        row = self.counts.setdefault(key, {})
        row[habit] = row.get(habit, 0) + 1

    def compile(self) -> None:
        """Choose the rows that act: the most often counted that have support and confidence."""
        rows = []
        for key, done in self.counts.items():
            habit, times = max(done.items(), key=lambda item: (item[1], item[0]))
            if times >= self.support and times >= self.confidence * sum(done.values()):
                rows.append((-times, key, habit))
        kept = sorted((key, habit) for _, key, habit in sorted(rows)[: self.n_rows])
        self.keys = np.array([key for key, _ in kept], dtype=np.uint64)
        self.habits = np.array([habit for _, habit in kept], dtype=np.uint64).reshape(-1, 2)

    def look_up(self, situations: Situations) -> tuple[Bools, Ints]:
        """(B,) whether a habit knows what to do, and the action."""
        rows, columns = situations.colours.shape
        n = columns - 1
        if not len(self.keys):
            return np.zeros(rows, dtype=np.bool_), np.zeros(rows, dtype=np.int64)
        found = np.minimum(np.searchsorted(self.keys, situations.keys), len(self.keys) - 1)
        block = situations.colours[:, :n] == self.habits[found, :1]
        target = situations.colours == self.habits[found, 1:]
        # Two blocks of one colour are alike, but a block and a target of one colour are to be two.
        both = (block[:, :, None] & target[:, None, :]).reshape(rows, -1)
        both[:, np.arange(n) * columns + np.arange(n)] = False
        hit = (self.keys[found] == situations.keys) & both.any(axis=1)
        return hit, both.argmax(axis=1).astype(np.int64)
