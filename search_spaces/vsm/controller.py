"""The controller: five levels and an alarm decide on one action for each of many episodes at once.

Order of command: an answered alarm, a habit, then S1's scores less what S5 forbids, with S4's look-ahead where S3
grants it. `reference` is the same in plain Python, and chooses the same actions.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from clso.search_spaces.vsm.choice import Floats, choose
from clso.search_spaces.vsm.genes import GREEDY, Anatomy
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.purple import hear, response
from clso.search_spaces.vsm.s2 import Situations
from clso.search_spaces.vsm.s3 import grants
from clso.search_spaces.vsm.s4 import look_ahead
from clso.search_spaces.vsm.s5 import allowed, masked
from clso.worlds.batched import Bools, Ints, final
from clso.worlds.draws import uniform_array
from clso.worlds.episode import Episodes
from clso.worlds.facts import LOCAL_BITS, Scene, final_bits, local_bits, move_bits

__all__ = ["DRAW_ACTION", "Decision", "Tally", "decide", "out_of_place", "patterns_of"]

DRAW_ACTION = 0  # the counter of the draws that choose an action


@dataclass
class Tally:
    """What decisions cost, counted as it is spent. An operation is a fact, a table read or a node; tables have no FLOPs."""

    decisions: int = 0
    facts: int = 0
    reads: int = 0
    nodes: int = 0
    flops: int = 0
    habits: int = 0
    """Decisions that a habit took."""
    alarms: int = 0
    """Decisions that answered an alarm."""
    look_aheads: int = 0

    @property
    def operations(self) -> int:
        return self.facts + self.reads + self.nodes

    def add(self, other: Tally) -> None:
        """Take in another's counts."""
        for field in fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))

    def per_decision(self) -> dict[str, float]:
        """Means a decision, `operations` with them."""
        n = max(self.decisions, 1)
        counts = {k: v for k, v in asdict(self).items() if k != "decisions"}
        return {k: v / n for k, v in {**counts, "operations": self.operations}.items()}


@dataclass(frozen=True)
class Decision:
    """B actions, and what learning needs to know of how they came about."""

    actions: Ints
    """(B,)."""
    patterns: Ints | None
    """(B, A): the facts of every action; None if not asked for."""
    situations: Situations | None


def out_of_place(below: Ints, goal: Ints, anatomy: Anatomy) -> Ints:
    """(B,): blocks out of final position or, without S5, misplaced supports."""
    right = final(below, goal)[:, :-1] if anatomy.final_fact else below == goal
    count: Ints = (~right).sum(axis=1)
    return count


def patterns_of(scene: Scene, episodes: Episodes, anatomy: Anatomy) -> Ints:
    """(B, A): the facts that the controller's levels know of."""
    patterns = local_bits(scene)
    if anatomy.move_facts:
        patterns = patterns | move_bits(scene, episodes)
    if anatomy.final_fact:
        patterns = patterns | final_bits(scene)
    return patterns


def decide(
    memory: Memory, scene: Scene, episodes: Episodes, *, practice: bool, tally: Tally
) -> Decision:
    """One action for each episode. `practice` draws by the scores of practice, and keeps all facts for learning."""
    anatomy, rows = memory.anatomy, len(scene.below)
    draws = uniform_array(episodes.stream, episodes.step, DRAW_ACTION)
    tally.decisions += rows
    answering = hear(episodes, anatomy)
    actions = np.full(rows, -1, dtype=np.int64)
    situations, by_habit = None, np.zeros(rows, dtype=np.bool_)
    if anatomy.habit_table and (practice or len(memory.habits.keys)):
        situations = Situations.of(scene)
        hit, chosen = memory.habits.look_up(situations)
        by_habit = hit & ~answering
        actions[by_habit] = chosen[by_habit]
        tally.reads += rows * (4 * scene.n_blocks**2 + 1)
        tally.habits += int(by_habit.sum())
    open_ = np.flatnonzero(actions < 0)
    if len(open_) or practice:
        patterns = patterns_of(scene, episodes, anatomy)
        n_facts = LOCAL_BITS + 2 * anatomy.move_facts + 2 * anatomy.final_fact
        tally.facts += n_facts * patterns.shape[1] * (rows if practice else len(open_))
        if len(open_):
            some = _Open(memory, scene, episodes, patterns, draws, open_, tally)
            actions[open_] = some.decide(answering[open_], practice=practice)
    return Decision(actions, patterns if practice else None, situations if practice else None)


class _Open:
    """The episodes of a batch whose action no habit has taken."""

    def __init__(
        self,
        memory: Memory,
        scene: Scene,
        episodes: Episodes,
        patterns: Ints,
        draws: Floats,
        at: Ints,
        tally: Tally,
    ) -> None:
        self.memory, self.anatomy, self.tally = memory, memory.anatomy, tally
        self.episodes, self.at = episodes, at
        self.scene, self.patterns, self.draws = scene.rows(at), patterns[at], draws[at]
        self.kept = allowed(
            self.patterns, refusal=self.anatomy.refusal, goal_order=self.anatomy.goal_order
        )

    def decide(self, answering: Bools, *, practice: bool) -> Ints:
        """(k,): an action each."""
        anatomy = self.anatomy
        power = anatomy.practice_power if practice else anatomy.exam_power
        scores = masked(self._scores(), self.kept)
        actions = choose(scores, power, self.draws)
        deeper = answering & (anatomy.purple_response == "deeper" and anatomy.depth > 0)
        if anatomy.depth:
            granted = ~answering
            if anatomy.budget is not None:
                granted &= grants(scores, anatomy.s3_closeness, self.episodes.budget[self.at])
            self._look(granted, scores, actions, anatomy.depth)
            self._look(deeper, scores, actions, anatomy.depth + 1)
        plain = answering & ~deeper
        self.tally.alarms += int(answering.sum())
        if plain.any():
            wanted = response(self.patterns[plain], self.kept[plain], anatomy.purple_response)
            actions[plain] = choose(wanted, GREEDY, self.draws[plain])
        return actions

    def _scores(self) -> Floats:
        n = self.patterns.size
        if self.anatomy.s1 == "off":
            return np.ones(self.patterns.shape)
        self.tally.reads += n
        if self.memory.read_out is not None:
            self.tally.flops += n * self.memory.read_out.flops
        return self.memory.scores(self.patterns)

    def _look(self, rows: Bools, scores: Floats, actions: Ints, depth: int) -> None:
        """Set the actions of the rows (k,) bool by look-ahead; it costs budget."""
        if not rows.any():
            return
        chosen, nodes = look_ahead(
            self.scene.rows(rows),
            self.patterns[rows],
            scores[rows],
            self.memory.model,
            depth=depth,
            beam=self.anatomy.s4_beam,
            final_fact=self.anatomy.final_fact,
            draws=self.draws[rows],
        )
        actions[rows] = chosen
        self.episodes.budget[self.at[rows]] -= nodes
        self.tally.nodes += int(nodes.sum())
        self.tally.reads += int(rows.sum()) * self.patterns.shape[1]
        self.tally.look_aheads += int(rows.sum())
