"""Forms of problems, splits that share none, and files of problems."""

from __future__ import annotations

import itertools
import json
import os
import random
from pathlib import Path

import pytest

from clso.errors import ConfigError, DataError
from clso.worlds.blocks import TABLE, State
from clso.worlds.canonical import canonical_form
from clso.worlds.problems import (
    SPLITS,
    Plan,
    draw_problems,
    draw_state,
    read_problems,
    split_of,
    write_plans,
)
from clso.worlds.solvers import breadth_first


def renamed(state: State, names: tuple[int, ...]) -> State:
    out = [TABLE] * len(state)
    for block, under in enumerate(state):
        out[names[block]] = TABLE if under == TABLE else names[under]
    return tuple(out)


def test_renaming_leaves_the_form() -> None:
    rng = random.Random(1)
    for _ in range(50):
        start, goal = draw_state(6, rng), draw_state(6, rng)
        names = tuple(rng.sample(range(6), 6))
        assert canonical_form(renamed(start, names), renamed(goal, names)) == canonical_form(
            start, goal
        )


def test_problems_of_one_form_are_renamings() -> None:
    states = sorted(breadth_first((TABLE,) * 3))
    forms: dict[object, set[tuple[State, State]]] = {}
    for start, goal in itertools.product(states, states):
        forms.setdefault(canonical_form(start, goal), set()).add((start, goal))
    for members in forms.values():
        start, goal = min(members)
        orbit = {
            (renamed(start, names), renamed(goal, names))
            for names in itertools.permutations(range(3))
        }
        assert members == orbit


@pytest.mark.parametrize("n", [3, 5])
def test_splits_share_no_form(n: int) -> None:
    forms = {
        split: {canonical_form(p.start, p.goal) for p in draw_problems(n, 100, split, 0)}
        for split in SPLITS
    }
    for one, other in itertools.combinations(SPLITS, 2):
        assert not forms[one] & forms[other]


def test_drawing_is_repeated_by_its_seed() -> None:
    first = draw_problems(4, 20, "exam", 3)
    draw_problems.cache_clear()
    assert draw_problems(4, 20, "exam", 3) == first
    assert draw_problems(4, 20, "exam", 4) != first
    assert all(p.start != p.goal and split_of(p.start, p.goal) == "exam" for p in first)


def test_an_unknown_split_is_refused() -> None:
    with pytest.raises(ConfigError, match="unknown split"):
        draw_problems(4, 1, "train", 0)


def test_problems_are_read(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "a", "start": [-1, 0, 1], "goal": [1, 2, -1]}\n\n')
    (problem,) = read_problems(path)
    assert (problem.id, problem.start, problem.goal) == ("a", (-1, 0, 1), (1, 2, -1))


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ('{"id": "a", "start": [1, 2, 0], "goal": [1, 2, -1]}', "no tower is a cycle"),
        ('{"id": "a", "start": [2, 2, -1], "goal": [1, 2, -1]}', "carries at most one"),
        ('{"id": "a", "start": [-1, -1], "goal": [1, 2, -1]}', "as many blocks"),
        ('{"id": "a", "start": 3, "goal": [1, 2, -1]}', "has lists"),
        ('{"id": "a", "start": [-1, 0, 1], "goal": [-1, 0, 1]}', "that differ"),
        ('{"id": {"b": 1}, "start": [-1, 0, 1], "goal": [1, 2, -1]}', "as id"),
        ('{"id": "a", "start": [-1, -1, -1]}', 'has "id"'),
        ("[]", 'has "id"'),
        ("no JSON", "is JSON"),
        ("", "at least one"),
    ],
)
def test_a_file_that_is_wrong_is_one_line(text: str, rule: str, tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(DataError, match=rule):
        read_problems(path)


def test_ids_are_given_once(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text('{"id": "a", "start": [-1, 0, 1], "goal": [1, 2, -1]}\n' * 2)
    with pytest.raises(DataError, match="an id of its own"):
        read_problems(path)


def test_plans_are_written(tmp_path: Path) -> None:
    path = tmp_path / "plans.jsonl"
    write_plans(path, [Plan("a", ((2, -1), (1, 2)), True, 2)])
    row = {"id": "a", "moves": [[2, -1], [1, 2]], "solved": True, "optimal": 2}
    assert json.loads(path.read_text()) == row
    with pytest.raises(DataError, match="can be written"):
        write_plans(tmp_path / "no" / "plans.jsonl", [])


def test_plans_are_written_to_regular_files_only(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for name in ("fifo", "."):
        with pytest.raises(DataError, match="it is no regular file"):
            write_plans(tmp_path / name, [])
    assert [entry.name for entry in tmp_path.iterdir()] == ["fifo"]
