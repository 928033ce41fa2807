"""A lifetime: episodes of practice that are learned from, and exams in which nothing changes.

Practice goes in rounds of a few episodes, all played by what was known before the round. What leads to a goal is
counted once the loops are erased from the walk: what remains is a path, and none of its moves was undone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from clso.search_spaces.vsm.controller import Decision, Tally, decide, out_of_place
from clso.search_spaces.vsm.genes import Anatomy
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.s1 import width_for
from clso.worlds.batched import Bools, Ints, state_array, step
from clso.worlds.blocks import step_limit
from clso.worlds.draws import Words, mix, mix_array
from clso.worlds.episode import Episodes
from clso.worlds.facts import HIDDEN, LOCAL_BITS, Scene
from clso.worlds.practice import curriculum, loops_erased
from clso.worlds.problems import Problem, draw_problems

__all__ = [
    "ROUND",
    "Outcome",
    "Rules",
    "exam_streams",
    "examine",
    "play",
    "raise_controller",
    "streams",
]

ROUND = 10
"""Episodes of practice between two looks at the counts."""
_FIT_EVERY = 5  # rounds; a fit costs more than counting
_PRACTICE, _EXAM = 1, 2  # of what the streams of episodes are
_DRAW_CREDIT = 2  # the counter of the draws that shuffle credit


@dataclass(frozen=True)
class Rules:
    """What a lifetime is like: the world's side of it, that evolution cannot choose."""

    blocks: int = 5
    """In exams; practice has at most five."""
    practice: int = 400
    """Episodes."""
    parameters: int = 0
    """Of S1's read-out, about; 0: the default's."""
    goal_shown: bool = True
    credit_true: bool = True
    """Whether what was done gets the credit, or any action at random: the control."""


@dataclass(frozen=True)
class Outcome:
    """B episodes, played to their end."""

    solved: Bools
    steps: Ints
    moves: list[Ints]
    """Of each episode the actions, illegal ones too."""


def play(
    memory: Memory,
    problems: Sequence[Problem],
    stream: Words,
    rules: Rules,
    tally: Tally,
    *,
    learner: Learner | None = None,
) -> Outcome:
    """Play problems of one size to their ends. With a `learner` this is practice."""
    below = state_array([p.start for p in problems])
    goal = state_array([p.goal for p in problems])
    seen = goal if rules.goal_shown else np.full_like(goal, HIDDEN)
    rows, n = below.shape
    anatomy = memory.anatomy
    misplaced = out_of_place(below, seen, anatomy)
    limit = step_limit(n)
    episodes = Episodes.begin(below, stream, limit, anatomy.budget, misplaced)
    at = np.arange(rows)
    solved, steps = np.zeros(rows, dtype=np.bool_), np.full(rows, limit)
    moves = np.full((rows, limit), -1, dtype=np.int64)
    for turn in range(limit):
        scene = Scene.of(below, seen)
        decision = decide(memory, scene, episodes, practice=learner is not None, tally=tally)
        after, moved = step(below, decision.actions)
        moves[at, turn] = decision.actions
        if learner is not None:
            learner.see(at, decision, episodes, moved)
        episodes.advance(below, after, decision.actions, moved, out_of_place(after, seen, anatomy))
        done = (after == goal).all(axis=1)
        solved[at[done]], steps[at[done]] = True, turn + 1
        if learner is not None:
            learner.solved(at[done], episodes.visited[done])
        at, below, goal, seen = at[~done], after[~done], goal[~done], seen[~done]
        episodes.keep(~done)
        if not len(at):
            break
    return Outcome(solved, steps, [m[:k] for m, k in zip(moves, steps, strict=True)])


class Learner:
    """Counts what a round of practice shows."""

    def __init__(self, memory: Memory, rules: Rules) -> None:
        self._memory, self._rules = memory, rules
        self._seen: list[tuple[Ints, Decision, Words]] = []

    def see(self, at: Ints, decision: Decision, episodes: Episodes, moved: Bools) -> None:
        """One decision of the episodes `at`, and whether it changed anything."""
        memory = self._memory
        if memory.anatomy.model and decision.patterns is not None:
            done = decision.patterns[np.arange(len(at)), decision.actions] & ((1 << LOCAL_BITS) - 1)
            np.add.at(memory.tried, done, 1)
            np.add.at(memory.changed, done, moved.astype(np.int64))
        credit = decision.actions
        if not self._rules.credit_true and decision.patterns is not None:
            words = mix_array(episodes.stream, episodes.step, _DRAW_CREDIT)
            credit = (words % np.uint64(decision.patterns.shape[1])).astype(np.int64)
        credited = Decision(credit, decision.patterns, decision.situations)
        self._seen.append((at, credited, episodes.hashes))

    def solved(self, at: Ints, visited: Words) -> None:
        """Episodes that have reached their goal, with the hashes of their states."""
        n_steps = len(self._seen)
        for row, hashes in zip(at.tolist(), visited, strict=True):
            erase = self._memory.anatomy.erase_loops
            walk = hashes[: n_steps + 1].tolist()
            steps = loops_erased(walk) if erase else list(range(n_steps))
            for turn in steps:
                rows, decision, _ = self._seen[turn]
                self._credit(int(np.searchsorted(rows, row)), decision)

    def _credit(self, row: int, decision: Decision) -> None:
        memory, action = self._memory, int(decision.actions[row])
        counts_shares = memory.anatomy.habits if memory.read_out is None else memory.anatomy.model
        if counts_shares and decision.patterns is not None:
            np.add.at(memory.offered, decision.patterns[row], 1)
            memory.chosen[decision.patterns[row, action]] += 1
        if memory.anatomy.habits and decision.situations is not None:
            colours = decision.situations.colours[row]
            block, column = divmod(action, len(colours))
            habit = int(colours[block]), int(colours[column])
            memory.habits.count(int(decision.situations.keys[row]), habit)


def raise_controller(
    anatomy: Anatomy, rules: Rules, seed: int, tally: Tally | None = None
) -> Memory:
    """A controller after its practice. Equal arguments give equal controllers."""
    memory = Memory(anatomy, seed, width_for(rules.parameters))
    tally = tally or Tally()
    first = 0
    for n, count in curriculum(rules.blocks, rules.practice, rising=anatomy.rising):
        problems = draw_problems(n, count, "practice", seed) if count else ()
        for start in range(0, count, ROUND):
            batch = problems[start : start + ROUND]
            number = (first + start) // ROUND
            play(
                memory,
                batch,
                streams(seed, _PRACTICE, first + start, len(batch)),
                rules,
                tally,
                learner=Learner(memory, rules),
            )
            memory.compile()
            if number % _FIT_EVERY == 0 or first + start + ROUND >= rules.practice:
                memory.fit()
        first += count
    memory.compile()
    memory.fit()
    return memory


def streams(seed: int, kind: int, first: int, count: int) -> Words:
    """(count,): the random streams of episodes `first`, `first` + 1, ... of a kind."""
    base = np.full(count, mix(seed, kind), dtype=np.uint64)
    return mix_array(base, np.arange(first, first + count))


def exam_streams(memory: Memory, count: int) -> Words:
    """(count,): the random streams of an exam's episodes."""
    return streams(memory.seed, _EXAM, 0, count)


def examine(memory: Memory, problems: Sequence[Problem], rules: Rules, tally: Tally) -> Outcome:
    """Play problems of one size; nothing is learned."""
    return play(memory, problems, exam_streams(memory, len(problems)), rules, tally)
