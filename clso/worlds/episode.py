"""What a controller remembers within an episode: where it has been, and what the Purple Line counts."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from clso.worlds.batched import Bools, Ints, state_hash
from clso.worlds.draws import Words, mix_array

__all__ = ["Episodes", "edge_hash"]


def edge_hash(first: Words, second: Words) -> Words:
    """A word for the edge between two states, the same both ways."""
    return mix_array(mix_array(np.minimum(first, second)) ^ np.maximum(first, second))


@dataclass
class Episodes:
    """B episodes under way, all of n blocks and at the same step."""

    stream: Words
    """(B,): of what is drawn at random."""
    limit: int
    """Steps at which an episode ends."""
    visited: Words
    """(B, limit + 1): hashes of the states so far, the present one at `step`."""
    edges: Words
    """(B, limit): hashes of the edges walked; a step that changed nothing has none, and the word 0."""
    last_block: Ints
    """(B,): the block moved last, -1 at first."""
    last_from: Ints
    """(B,): the column that it came from."""
    budget: Ints
    """(B,): look-ahead nodes left."""
    n_states: Ints
    """(B,): different states visited, V."""
    n_edges: Ints
    """(B,): different edges walked, E."""
    n_revisits: Ints
    """(B,): times that a state was entered again."""
    best: Ints
    """(B,): least number of blocks out of place so far."""
    stalled: Ints
    """(B,): steps since `best` fell."""
    base: Ints
    """(B,): the alarm's count at the last alarm."""
    alarmed: Ints
    """(B,): decisions left of the response to an alarm."""
    step: int = 0

    @classmethod
    def begin(
        cls, below: Ints, stream: Words, limit: int, budget: int | None, misplaced: Ints
    ) -> Episodes:
        """Episodes at their first state; `misplaced` are blocks out of place, as the controller values it."""
        rows = len(below)
        visited = np.zeros((rows, limit + 1), dtype=np.uint64)
        visited[:, 0] = state_hash(below)
        zeros = np.zeros(rows, dtype=np.int64)
        return cls(
            stream=stream,
            limit=limit,
            visited=visited,
            edges=np.zeros((rows, limit), dtype=np.uint64),
            last_block=zeros - 1,
            last_from=zeros - 1,
            budget=zeros + (np.iinfo(np.int64).max if budget is None else budget),
            n_states=zeros + 1,
            n_edges=zeros.copy(),
            n_revisits=zeros.copy(),
            best=misplaced.copy(),
            stalled=zeros.copy(),
            base=zeros.copy(),
            alarmed=zeros.copy(),
        )

    @property
    def hashes(self) -> Words:
        """(B,): of the present states."""
        return self.visited[:, self.step]

    @property
    def betti(self) -> Ints:
        """(B,): independent cycles of the graph walked so far, E - V + C. A walk is connected: C = 1."""
        return self.n_edges - self.n_states + 1

    def advance(
        self, before: Ints, after: Ints, actions: Ints, moved: Bools, misplaced: Ints
    ) -> None:
        """Take in one step of all episodes."""
        n = before.shape[1]
        here, there = self.hashes, state_hash(after)
        edge = np.where(moved, edge_hash(here, there), np.uint64(0))
        known = (self.visited[:, : self.step + 1] == there[:, None]).any(axis=1)
        walked = (self.edges[:, : self.step] == edge[:, None]).any(axis=1)
        self.n_states += moved & ~known
        self.n_revisits += moved & known
        self.n_edges += moved & ~walked
        block = actions // (n + 1)
        under = before[np.arange(len(before)), block]
        self.last_block = np.where(moved, block, self.last_block)
        self.last_from = np.where(moved, np.where(under == -1, n, under), self.last_from)
        better = misplaced < self.best
        self.best = np.where(better, misplaced, self.best)
        self.stalled = np.where(better, 0, self.stalled + 1)
        self.edges[:, self.step] = edge
        self.step += 1
        self.visited[:, self.step] = there

    def keep(self, rows: Bools) -> None:
        """Drop the episodes that have ended."""
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                setattr(self, field.name, value[rows])
