"""Playing problems with a policy, many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from clso.worlds.batched import Bools, Ints, final, state_array, step
from clso.worlds.blocks import step_limit
from clso.worlds.draws import Words, mix, mix_array
from clso.worlds.episode import Episodes
from clso.worlds.facts import Scene, final_bits, local_bits, move_bits
from clso.worlds.problems import Problem, by_size
from clso.worlds.scoring import Score, score

__all__ = ["Policy", "Turn", "play", "scored", "streams"]


@dataclass(frozen=True)
class Turn:
    """What a policy sees of B episodes."""

    scene: Scene
    episodes: Episodes
    at: Ints
    """(B,): which of all episodes these are."""

    @property
    def facts(self) -> Ints:
        """(B, A): every fact that a controller of space `vsm` may have, those of S2 and S5 with them."""
        return (
            local_bits(self.scene) | move_bits(self.scene, self.episodes) | final_bits(self.scene)
        )


class Policy(Protocol):
    """Chooses an action for each episode."""

    def act(self, turn: Turn) -> Ints:
        """(B,): actions, numbered as in `clso.worlds.batched`."""
        ...


def streams(seed: int, first: int, count: int) -> Words:
    """(count,): random streams of episodes `first`, `first` + 1, ..."""
    return mix_array(np.full(count, mix(seed), dtype=np.uint64), np.arange(first, first + count))


def play(
    policy: Policy,
    problems: Sequence[Problem],
    stream: Words,
    after_step: Callable[[Turn, Ints, Bools], None] | None = None,
) -> tuple[Bools, Ints]:
    """(B,) solved and (B,) steps of problems of one size; `after_step` hears of actions and what is solved."""
    below, goal = (state_array([getattr(p, key) for p in problems]) for key in ("start", "goal"))
    rows, n = below.shape
    limit = step_limit(n)
    misplaced = (~final(below, goal)[:, :n]).sum(axis=1)
    episodes = Episodes.begin(below, stream, limit, None, misplaced)
    at, solved, steps = np.arange(rows), np.zeros(rows, dtype=np.bool_), np.full(rows, limit)
    for turn in range(limit):
        seen = Turn(Scene.of(below, goal), episodes, at)
        actions = policy.act(seen)
        after, moved = step(below, actions)
        done = (after == goal).all(axis=1)
        if after_step is not None:
            after_step(seen, actions, done)
        episodes.advance(below, after, actions, moved, (~final(after, goal)[:, :n]).sum(axis=1))
        solved[at[done]], steps[at[done]] = True, turn + 1
        at, below, goal = at[~done], after[~done], goal[~done]
        episodes.keep(~done)
        if not len(at):
            break
    return solved, steps


def scored(policy: Policy, problems: Sequence[Problem], seed: int) -> Score:
    """The score of a policy on problems of any sizes."""
    solved, steps = np.zeros(len(problems), dtype=np.bool_), np.zeros(len(problems), dtype=np.int64)
    for rows in by_size(problems).values():
        found = play(policy, [problems[i] for i in rows], streams(seed, 0, len(rows)))
        solved[rows], steps[rows] = found
    return score(problems, solved.tolist(), steps.tolist())
