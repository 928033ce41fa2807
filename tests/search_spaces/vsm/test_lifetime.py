"""Lifetimes: what is learned in 400 episodes, what is not when nothing can be, and that plain Python plays alike."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from clso.errors import RunFolderError
from clso.search_spaces.vsm.controller import Tally
from clso.search_spaces.vsm.exam import examined
from clso.search_spaces.vsm.genes import DEFAULT, GENES, Anatomy, anatomy
from clso.search_spaces.vsm.lifetime import Rules, exam_streams, examine, raise_controller
from clso.search_spaces.vsm.memory import Memory
from clso.search_spaces.vsm.reference import ReferenceController
from clso.worlds.batched import action_index
from clso.worlds.problems import draw_problems

WHOLE = anatomy(DEFAULT)


def success(settings: Anatomy, rules: Rules, blocks: int, seed: int = 0) -> float:
    memory = raise_controller(settings, rules, seed)
    return examined(memory, draw_problems(blocks, 50, "test", 0), rules).score.success


def test_four_hundred_episodes_are_enough() -> None:
    memory = raise_controller(WHOLE, Rules(), 0)
    for blocks, least in ((5, 0.95), (8, 0.9)):
        score = examined(memory, draw_problems(blocks, 100, "test", 0), Rules()).score
        assert score.success >= least
        assert score.plan_ratio is not None
        assert score.plan_ratio <= 1.25
    assert success(WHOLE.only(["S1", "S2"]), Rules(), 5) >= 0.85


def test_without_practice_without_a_goal_or_with_shuffled_credit_nothing_is_learned() -> None:
    learned = WHOLE.only(["S1", "S2"])
    assert success(learned, Rules(practice=0), 5) <= 0.1
    assert success(learned, Rules(credit_true=False), 5) <= 0.1
    assert success(WHOLE, Rules(goal_shown=False), 5) <= 0.1
    assert success(WHOLE.only([]), Rules(), 5) <= 0.1


def test_plasticities_are_switches() -> None:
    off = replace(WHOLE, habits=False, model=False, explosive=False)
    memory = raise_controller(off, Rules(practice=50), 0)
    assert sum(memory.parameters.values()) == 0
    assert memory.tried.sum() == 0
    some = raise_controller(replace(off, model=True), Rules(practice=50), 0)
    assert some.tried.sum() > 0
    assert some.offered.sum() == 0
    alarms = Tally()
    examine(memory, draw_problems(5, 50, "test", 0), Rules(), alarms)
    assert alarms.alarms == 0


def test_an_episode_does_not_depend_on_its_company() -> None:
    memory = raise_controller(WHOLE, Rules(practice=60), 1)
    problems = draw_problems(5, 20, "test", 0)
    together = examine(memory, problems, Rules(), Tally())
    for count in (1, 7):
        alone = examine(memory, problems[:count], Rules(), Tally())
        for one, other in zip(alone.moves, together.moves[:count], strict=True):
            assert one.tolist() == other.tolist()


@pytest.mark.parametrize("seed", range(12))
def test_plain_python_chooses_the_same_actions(seed: int) -> None:
    rng = random.Random(seed)
    alleles = {gene.name: rng.choice(gene.choices) for gene in GENES} if seed else DEFAULT
    rules = Rules(practice=60, goal_shown=seed % 5 != 3)
    memory = raise_controller(anatomy(alleles), rules, seed)
    reference = ReferenceController(memory, goal_shown=rules.goal_shown)
    for n in (3, 6):
        problems = draw_problems(n, 8, "test", 1)
        outcome = examine(memory, problems, rules, Tally())
        stream = exam_streams(memory, len(problems)).tolist()
        for problem, moves, word in zip(problems, outcome.moves, stream, strict=True):
            played = [action_index(chosen, n) for chosen in reference.play(problem, word)]
            assert played == moves.tolist(), alleles


@pytest.mark.parametrize("s1", ["table", "crystal", "random", "off"])
def test_what_is_read_back_acts_alike(s1: str, tmp_path: Path) -> None:
    memory = raise_controller(replace(WHOLE, s1=s1), Rules(practice=80), 3)
    memory.save(tmp_path / "best")
    read = Memory.load(tmp_path / "best")
    assert read.parameters == memory.parameters
    problems = draw_problems(6, 30, "test", 0)
    first, second = (examine(m, problems, Rules(), Tally()) for m in (memory, read))
    assert all(np.array_equal(a, b) for a, b in zip(first.moves, second.moves, strict=True))
    assert sum(p.stat().st_size for p in (tmp_path / "best").iterdir()) <= 1_000_000


def test_a_damaged_winner_is_one_line(tmp_path: Path) -> None:
    memory = raise_controller(WHOLE, Rules(practice=20), 0)
    memory.save(tmp_path / "best")
    path = tmp_path / "best" / "controller.safetensors"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(RunFolderError, match="holds a controller"):
        Memory.load(tmp_path / "best")
    (tmp_path / "best" / "controller.json").write_text("{}")
    with pytest.raises(RunFolderError, match="holds a controller"):
        Memory.load(tmp_path / "best")


def test_operations_are_counted_as_they_are_spent() -> None:
    rules, problems = Rules(), draw_problems(5, 40, "test", 0)
    costs = {}
    for name, levels in (("S1", ["S1"]), ("S4", ["S4", "S5"]), ("none", list[str]())):
        tally = Tally()
        settings = replace(WHOLE.only(levels), exam_power=4)
        examine(raise_controller(settings, Rules(practice=40), 0), problems, rules, tally)
        costs[name] = tally.per_decision()
    assert costs["none"]["operations"] == 13 * 30  # the facts of 30 actions
    assert costs["S1"]["operations"] == 13 * 30 + 30
    assert costs["S4"]["nodes"] > 1
    assert costs["S1"]["flops"] == 0
