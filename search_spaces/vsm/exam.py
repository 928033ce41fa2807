"""Measuring a controller that has learned: its score on problems, what its decisions cost, how fast they come."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from statistics import median
from typing import Any

from clso.energy import EnergyMeter
from clso.search_spaces.vsm.controller import Tally
from clso.search_spaces.vsm.lifetime import Outcome, Rules, exam_streams, examine
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.reference import ReferenceController
from clso.worlds.batched import action_move
from clso.worlds.blocks import move
from clso.worlds.problems import Plan, Problem, by_size, draw_problems
from clso.worlds.scoring import Score, score
from clso.worlds.solvers import optimum

__all__ = ["Exam", "examined", "joules", "sizes_table", "speed"]

_WINDOWS = 5
_BATCH = 256


@dataclass(frozen=True)
class Exam:
    """A score, and what it cost."""

    score: Score
    tally: Tally
    plans: list[Plan]


def examined(memory: Memory, problems: Sequence[Problem], rules: Rules) -> Exam:
    """Play problems of any sizes, each size in a batch."""
    tally = Tally()
    outcomes: dict[int, tuple[Outcome, int]] = {}
    for rows in by_size(problems).values():
        outcome = examine(memory, [problems[i] for i in rows], rules, tally)
        outcomes |= {i: (outcome, k) for k, i in enumerate(rows)}
    plans = [_plan(problem, *outcomes[i]) for i, problem in enumerate(problems)]
    steps = [int(outcomes[i][0].steps[outcomes[i][1]]) for i in range(len(problems))]
    return Exam(score(problems, [p.solved for p in plans], steps), tally, plans)


def _plan(problem: Problem, outcome: Outcome, row: int) -> Plan:
    """The moves that changed something: illegal actions cost steps, and are no part of a plan."""
    state, moves = problem.start, []
    for action in outcome.moves[row].tolist():
        chosen = action_move(action, problem.n_blocks)
        after = move(state, *chosen)
        if after != state:
            moves.append(chosen)
        state = after
    least = optimum(problem.start, problem.goal)
    return Plan(problem.id, tuple(moves), bool(outcome.solved[row]), least)


def sizes_table(
    memory: Memory, rules: Rules, sizes: Sequence[int], count: int, split: str = "test"
) -> dict[str, dict[str, Any]]:
    """By number of blocks: the score on `count` problems, with operations a decision."""
    found = {}
    for n in sizes:
        exam = examined(memory, draw_problems(n, count, split, 0), rules)
        cost = exam.tally.per_decision()
        found[str(n)] = {**exam.score.to_json(), **{k: cost[k] for k in ("operations", "nodes")}}
    return found


def speed(memory: Memory, rules: Rules, blocks: int, window_s: float) -> dict[str, float]:
    """Decisions a second on one core, one episode at a time (plain Python, the same actions) and in a batch: median of
    windows of CPU time."""
    problems = draw_problems(blocks, _BATCH, "test", 0)
    reference = ReferenceController(memory, goal_shown=rules.goal_shown)
    alone = cycle(list(zip(problems, exam_streams(memory, _BATCH).tolist(), strict=True)))

    def batched() -> int:
        tally = Tally()
        examine(memory, problems, rules, tally)
        return tally.decisions

    return {
        "one_at_a_time": _rate(lambda: len(reference.play(*next(alone))), window_s),
        "batched": _rate(batched, window_s),
        "windows": _WINDOWS,
        "window_s": window_s,
        "batch": _BATCH,
        "blocks": blocks,
    }


def _rate(work: Callable[[], int], window_s: float) -> float:
    """`work` returns how many decisions it took. Windows are of CPU time: other work on the machine does not count."""
    work()
    rates = []
    for _ in range(_WINDOWS):
        n, begin = 0, time.process_time()
        while (spent := time.process_time() - begin) < window_s or not n:
            n += work()
        rates.append(n / spent)
    return median(rates)


def joules(
    memory: Memory, rules: Rules, blocks: int, meter: EnergyMeter, window_s: float
) -> dict[str, Any]:
    """Joules for 1,000 decisions in batches, gross; None with a reason if there is no meter."""
    problems, tally = draw_problems(blocks, _BATCH, "test", 0), Tally()
    with meter.window("decisions", record=False) as window:
        begin = time.perf_counter()
        while time.perf_counter() - begin < window_s or not tally.decisions:
            examine(memory, problems, rules, tally)
    if window.energy_j is None:
        return {"value": None, "reason": str(window.reason)}
    return {"value": window.energy_j / tally.decisions * 1000, "reason": None}
