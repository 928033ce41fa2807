"""The controller in plain Python, one episode at a time: what the batched one is held against.

It is written from the levels' descriptions and shares no array code with them, only what was learned (`Memory`) and the
hash that random numbers come from. It chooses the same actions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from clso.search_spaces.vsm.genes import GREEDY, Anatomy
from clso.search_spaces.vsm.memory import Memory
from clso.worlds.blocks import TABLE, Move, State, above, in_final_position, move, step_limit
from clso.worlds.draws import mix, mix_each, uniform
from clso.worlds.facts import ACTION_LEGAL, FACTS, HIDDEN, LOCAL_BITS
from clso.worlds.problems import Problem

__all__ = ["ReferenceController", "colours"]

_BIT = {name: 1 << i for i, name in enumerate(FACTS)}
_MASK = (1 << 64) - 1
_NEVER = -1e9


@dataclass
class _Walk:
    """What is remembered of an episode."""

    stream: int
    budget: int | None
    states: list[State]
    best: int
    edges: set[frozenset[State]] = field(default_factory=set)
    last: tuple[int, int] | None = None
    """The block moved last and what it stood on."""
    revisits: int = 0
    stalled: int = 0
    base: int = 0
    alarmed: int = 0

    @property
    def step(self) -> int:
        return len(self.states) - 1


class ReferenceController:
    """Plays one problem with a controller that has learned.

    >>> ReferenceController(memory).play(problem, stream)  # doctest: +SKIP
    [(2, -1), (0, 1)]
    """

    def __init__(self, memory: Memory, *, goal_shown: bool = True) -> None:
        self.memory, self.goal_shown = memory, goal_shown
        self.anatomy: Anatomy = memory.anatomy
        self._habits = dict(
            zip(memory.habits.keys.tolist(), memory.habits.habits.tolist(), strict=True)
        )

    def play(self, problem: Problem, stream: int) -> list[Move]:
        """The moves of a frozen controller until the goal, or until the episode ends."""
        n, anatomy = problem.n_blocks, self.anatomy
        goal = problem.goal if self.goal_shown else (HIDDEN,) * n
        state, moves = problem.start, list[Move]()
        walk = _Walk(stream, anatomy.budget, [state], self._misplaced(state, goal))
        while state != problem.goal and len(moves) < step_limit(n):
            chosen = self._decide(state, goal, walk)
            moves.append(chosen)
            after = move(state, *chosen)
            self._remember(walk, state, after, chosen, goal)
            state = after
        return moves

    def _misplaced(self, state: State, goal: State) -> int:
        if self.anatomy.final_fact:
            return in_final_position(state, goal).count(False)
        return sum(a != b for a, b in zip(state, goal, strict=True))

    def _remember(
        self, walk: _Walk, before: State, after: State, chosen: Move, goal: State
    ) -> None:
        if after != before:
            walk.revisits += after in walk.states
            walk.edges.add(frozenset((before, after)))
            walk.last = chosen[0], before[chosen[0]]
        misplaced = self._misplaced(after, goal)
        walk.stalled = 0 if misplaced < walk.best else walk.stalled + 1
        walk.best = min(walk.best, misplaced)
        walk.states.append(after)

    def _decide(self, state: State, goal: State, walk: _Walk) -> Move:
        anatomy, n = self.anatomy, len(state)
        draw = uniform(walk.stream, walk.step, 0)
        answering = self._hear(walk)
        if anatomy.habit_table and not answering:
            habit = self._habit(state, goal)
            if habit is not None:
                return habit
        actions = [(b, t) for b in range(n) for t in (*range(n), TABLE)]
        patterns = self._facts(state, goal, walk)
        kept = [self._allowed(p) for p in patterns]
        scores = [1.0] * len(actions)
        if anatomy.s1 != "off":
            scores = self.memory.scores(np.array(patterns)).tolist()
        scores = _masked(scores, kept)
        deeper = answering and anatomy.purple_response == "deeper" and anatomy.depth > 0
        if answering and not deeper:
            wanted = _response(patterns, kept, anatomy.purple_response)
            return actions[_choose(wanted, GREEDY, draw)]
        if deeper or (anatomy.depth and self._granted(scores, walk)):
            depth = anatomy.depth + deeper
            picked, nodes = self._look_ahead(state, goal, patterns, scores, depth, draw)
            if walk.budget is not None:
                walk.budget -= nodes
            return actions[picked]
        return actions[_choose(scores, anatomy.exam_power, draw)]

    def _hear(self, walk: _Walk) -> bool:
        anatomy = self.anatomy
        if anatomy.alarm == "off":
            return False
        if anatomy.alarm == "random":
            raised, count = uniform(walk.stream, walk.step, 1) < anatomy.purple_rate, walk.base
        else:
            cycles = len(walk.edges) - len(set(walk.states)) + 1
            counts = {"betti": cycles, "revisits": walk.revisits, "no-progress": walk.stalled}
            count = counts[anatomy.alarm]
            walk.base = min(walk.base, count)
            raised = count - walk.base >= anatomy.purple_threshold
        if raised and walk.alarmed == 0:
            walk.base, walk.alarmed = count, anatomy.purple_length
        if walk.alarmed:
            walk.alarmed -= 1
            return True
        return False

    def _habit(self, state: State, goal: State) -> Move | None:
        key, of = colours(state, goal)
        if key not in self._habits:
            return None
        block_colour, target_colour = self._habits[key]
        for block, colour in enumerate(of):
            for target, other in enumerate([*of, 0]):
                if colour == block_colour and other == target_colour and target != block:
                    return block, TABLE if target == len(of) else target
        return None

    def _facts(self, state: State, goal: State, walk: _Walk | None) -> list[int]:
        """The facts of every action; without a walk, those of S2 are left out."""
        n, on, final = len(state), above(state), in_final_position(state, goal)
        final_fact = self.anatomy.final_fact
        targets = (*range(n), TABLE)
        clear = [*(block < 0 for block in on), True]  # the last is the table's, at TABLE
        right = [*(a == b for a, b in zip(state, goal, strict=True)), True]
        of_target = [
            _bits(
                ("target-is-table", t == TABLE),
                ("target-clear", clear[t]),
                ("target-on-its-own", right[t]),
                ("target-in-final-position", final_fact and (t == TABLE or final[t])),
            )
            for t in targets
        ]
        visited = set(walk.states[:-1]) if walk and self.anatomy.move_facts else None
        out = []
        for b, wanted in enumerate(goal):
            shown = wanted != HIDDEN
            of_block = _bits(
                ("block-clear", clear[b]),
                ("block-on-its-goal-support", right[b]),
                ("goal-support-is-table", wanted == TABLE),
                ("goal-support-clear", shown and clear[wanted]),
                ("goal-support-on-its-own", shown and right[wanted]),
                ("support-on-its-own", right[state[b]]),
                ("block-on-table", state[b] == TABLE),
                ("block-in-final-position", final_fact and final[b]),
            )
            for t, bits in zip(targets, of_target, strict=True):
                pattern = of_block | bits
                if wanted == t:
                    pattern |= _BIT["target-is-goal-support"]
                if t == b:
                    pattern |= _BIT["target-is-block"]
                if t == state[b]:
                    pattern |= _BIT["target-is-support"]
                if walk and visited is not None:
                    if walk.last == (b, t):
                        pattern |= _BIT["undoes-last-move"]
                    if (*state[:b], t, *state[b + 1 :]) in visited:
                        pattern |= _BIT["returns-to-visited"]
                out.append(pattern)
        return out

    def _allowed(self, pattern: int) -> bool:
        if self.anatomy.refusal and pattern & _BIT["block-in-final-position"]:
            return False
        early = pattern & _BIT["target-is-goal-support"]
        return not (
            self.anatomy.goal_order and early and not pattern & _BIT["target-in-final-position"]
        )

    def _granted(self, scores: list[float], walk: _Walk) -> bool:
        if walk.budget is None:
            return True
        second, first = sorted(scores)[-2:]
        return second >= self.anatomy.s3_closeness * first and walk.budget > 0

    def _gain(self, pattern: int) -> int:
        into = bool(pattern & _BIT["target-is-goal-support"])
        if self.anatomy.final_fact:
            into = into and bool(pattern & _BIT["target-in-final-position"])
            return into - bool(pattern & _BIT["block-in-final-position"])
        return into - bool(pattern & _BIT["block-on-its-goal-support"])

    def _look_ahead(
        self,
        state: State,
        goal: State,
        patterns: list[int],
        scores: list[float],
        depth: int,
        draw: float,
    ) -> tuple[int, int]:
        local, model = (1 << LOCAL_BITS) - 1, self.memory.model
        top, n, width = max(scores), len(state), len(patterns)
        # Each plan: its worth, its first action, and the state that it leads from, with its last action.
        plans = [
            (self._gain(p) + 0.5 * (s / top) if model[p & local] and s > 0 else _NEVER, a, state, a)
            for a, (p, s) in enumerate(zip(patterns, scores, strict=True))
        ]
        nodes = sum(plan[0] > _NEVER for plan in plans)
        best = [plan[0] for plan in plans]
        for turn in range(1, depth):
            chosen = sorted(plans, key=lambda plan: -plan[0])[: self.anatomy.s4_beam]
            plans = []
            for worth, first, before, action in chosen:
                block, column = divmod(action, n + 1)
                there = (*before[:block], TABLE if column == n else column, *before[block + 1 :])
                facts = self._facts(there, goal, None)
                for a in range(width):
                    legal = bool(model[facts[a] & local]) and worth > _NEVER / 2
                    new = worth + (1.0 - 0.1 * turn) * self._gain(facts[a]) if legal else _NEVER
                    nodes += legal
                    plans.append((new, first, there, a))
                    best[first] = max(best[first], new)
        if not nodes:
            return _choose(scores, GREEDY, draw), 0
        return _choose([float(b == max(best)) for b in best], GREEDY, draw), nodes


def colours(state: State, goal: State) -> tuple[int, list[int]]:
    """The key of a situation, and the blocks' colours (see `s2.Situations`)."""
    n = len(state)
    goal = tuple(TABLE if t == HIDDEN else t for t in goal)
    relations = (state, goal, above(state), above(goal))
    of = mix_each(_group_sizes(relations, n))
    for _ in range(n):
        old, new = [*of, 0], of
        for turn, relation in enumerate(relations):
            pairs = zip(new, relation, strict=True)
            new = mix_each([word ^ old[to] for word, to in pairs], turn)
        of = new
    return mix(sum(mix_each(of)) & _MASK, n), of


def _group_sizes(relations: Sequence[Sequence[int]], n: int) -> list[int]:
    """For each block, of how many blocks the group is that relations connect it to."""
    sizes = [0] * n
    for first in range(n):
        if sizes[first]:
            continue
        group, known = [first], {first}
        for block in group:
            for relation in relations:
                other = relation[block]
                if other >= 0 and other not in known:
                    known.add(other)
                    group.append(other)
        for block in group:
            sizes[block] = len(group)
    return sizes


def _bits(*facts: tuple[str, bool]) -> int:
    """The pattern of the facts that hold."""
    return sum(_BIT[name] for name, holds in facts if holds)


def _masked(scores: list[float], kept: list[bool]) -> list[float]:
    return [s if k else 0.0 for s, k in zip(scores, kept, strict=True)] if any(kept) else scores


def _response(patterns: list[int], kept: list[bool], kind: str) -> list[float]:
    with_, without = ACTION_LEGAL
    legal = [p & with_ == with_ and not p & without for p in patterns]
    scores = _masked([float(x) for x in legal], [x and k for x, k in zip(legal, kept, strict=True)])
    if kind == "unstack":
        down = [
            bool(p & _BIT["target-is-table"]) and not p & _BIT["block-on-table"] and s > 0
            for p, s in zip(patterns, scores, strict=True)
        ]
        scores = _masked(scores, down)
    return scores


def _choose(scores: list[float], power: int, draw: float) -> int:
    best = max(scores)
    weights = [float(s == best) for s in scores] if power == GREEDY else [s / best for s in scores]
    while power > 1:
        weights, power = [w * w for w in weights], power // 2
    sums, total = [], 0.0
    for weight in weights:
        total += weight
        sums.append(total)
    return min(sum(s <= draw * total for s in sums), len(scores) - 1)
