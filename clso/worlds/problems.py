"""Problems: drawn uniformly, split by their form, read from a file, and plans written to one."""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import comb, factorial
from pathlib import Path
from typing import Any

from clso.disk.files import read_regular, write_bytes
from clso.disk.parsing import parse_json
from clso.errors import ConfigError, DataError
from clso.worlds.blocks import TABLE, Move, State, check_blocks, check_state
from clso.worlds.canonical import canonical_form

__all__ = [
    "SPLITS",
    "Plan",
    "Problem",
    "by_size",
    "draw_problem",
    "draw_problems",
    "read_problems",
    "split_of",
    "write_plans",
]

SPLITS = {"practice": 50, "exam": 20, "valid": 15, "test": 15}
"""Shares of the forms, in per cent."""


@dataclass(frozen=True)
class Problem:
    """A start and a goal, both complete states of the same blocks, and different."""

    start: State
    goal: State
    id: str = ""

    @property
    def n_blocks(self) -> int:
        return len(self.start)


@dataclass(frozen=True)
class Plan:
    """What a controller did on a problem. `optimal`: least number of moves, None if not known."""

    id: str
    moves: tuple[Move, ...]
    solved: bool
    optimal: int | None

    def to_json(self) -> dict[str, Any]:
        moves = [list(m) for m in self.moves]
        return {"id": self.id, "moves": moves, "solved": self.solved, "optimal": self.optimal}


def split_of(start: State, goal: State) -> str:
    """The split that a problem is in, and with it all that differ from it by names only."""
    text = json.dumps(canonical_form(start, goal)).encode()
    share = int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") % 100
    for name, size in SPLITS.items():
        if share < size:
            return name
        share -= size
    raise AssertionError("the shares of the splits sum to 100")


def draw_state(n: int, rng: random.Random) -> State:
    """A state drawn uniformly: the number of towers by how many states have so many, then the
    blocks in any order, cut anywhere."""
    towers = range(1, n + 1)
    sizes = [comb(n - 1, k - 1) * factorial(n) // factorial(k) for k in towers]
    at, n_towers = rng.randrange(sum(sizes)), 0
    while at >= 0:
        at -= sizes[n_towers]
        n_towers += 1
    order = rng.sample(range(n), n)
    bottoms = {0, *rng.sample(range(1, n), n_towers - 1)}
    below = [TABLE] * n
    for i, block in enumerate(order):
        if i not in bottoms:
            below[block] = order[i - 1]
    return tuple(below)


@lru_cache(maxsize=256)
def draw_problems(n: int, count: int, split: str, seed: int) -> tuple[Problem, ...]:
    """`count` problems of a split, drawn uniformly among all its pairs of different states.

    Raises `DataError` for a number of blocks, `ConfigError` for a split, that there is not.
    """
    check_blocks(n)
    if split not in SPLITS:
        raise ConfigError("an unknown split of problems", got=split, remedy=f"{', '.join(SPLITS)}.")
    rng = random.Random(f"{split}/{n}/{seed}")
    return tuple(draw_problem(n, split, rng, f"{split}-{n}-{seed}-{i}") for i in range(count))


def draw_problem(n: int, split: str, rng: random.Random, id: str = "") -> Problem:
    """One problem of a split, drawn uniformly with `rng`."""
    while True:
        start, goal = draw_state(n, rng), draw_state(n, rng)
        if start != goal and split_of(start, goal) == split:
            return Problem(start, goal, id)


def read_problems(path: Path) -> list[Problem]:
    """Problems, one JSON object `{"id", "start", "goal"}` a line. Raises `DataError` with the line."""
    try:
        lines = read_regular(path).decode("utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            "a file of problems is UTF-8 text", problem=f"{path} cannot be read ({error})"
        ) from error
    found = [_problem(line, f"{path}, line {i}") for i, line in enumerate(lines, 1) if line.strip()]
    if not found:
        raise DataError("a file of problems holds at least one", got=str(path))
    names = [problem.id for problem in found]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"in {path} each problem has an id of its own", got=twice)
    return found


def _problem(line: str, at: str) -> Problem:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise DataError(f"{at} is JSON", got=line[:80]) from error
    if not isinstance(row, dict) or not {"id", "start", "goal"} <= row.keys():
        raise DataError(f'{at} has "id", "start" and "goal"', got=line[:80])
    if not all(isinstance(row[key], list) for key in ("start", "goal")):
        raise DataError(f"{at} has lists as start and goal", got=line[:80])
    if len(row["start"]) != len(row["goal"]):
        lengths = len(row["start"]), len(row["goal"])
        raise DataError(f"{at} has as many blocks in start and goal", got=lengths)
    start = check_state(row["start"], of=f"the start of {at}")
    goal = check_state(row["goal"], of=f"the goal of {at}")
    if start == goal:
        raise DataError(f"{at} has a start and a goal that differ", got=list(start))
    if isinstance(row["id"], bool) or not isinstance(row["id"], (str, int)):
        raise DataError(f"{at} has a text or a whole number as id", got=row["id"])
    return Problem(start, goal, str(row["id"]))


def write_plans(path: Path, plans: Iterable[Plan]) -> None:
    """One JSON object a line. Raises `DataError` if the file cannot be written, or if something else than a file
    (a FIFO, a device, a folder) is there."""
    text = "".join(json.dumps(plan.to_json()) + "\n" for plan in plans)
    try:
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        write_bytes(path, text.encode())
    except OSError as error:
        raise DataError(
            "plans need a file that can be written", problem=f"{path} cannot be ({error})"
        ) from error


def by_size(problems: Sequence[Problem]) -> dict[int, list[int]]:
    """Indices of the problems with each number of blocks, ascending."""
    sizes: dict[int, list[int]] = {}
    for i, problem in enumerate(problems):
        sizes.setdefault(problem.n_blocks, []).append(i)
    return dict(sorted(sizes.items()))
