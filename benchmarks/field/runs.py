"""Records of runs: one JSON line each, appended as it ends, so that an interrupted benchmark goes
on where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.field.contestants import BY_NAME
from benchmarks.field.problem import Problem, Suite
from benchmarks.field.trajectory import minimise

__all__ = ["forget", "read", "run_missing", "write"]


class Task(NamedTuple):
    """One run, as a process is told of it."""

    load: Callable[[str, int], Problem]
    problem: str
    rival: str
    seed: int
    n_evaluations: int
    stop: bool


_FIRST = 12  # evaluations
_warm: set[str] = set()  # contestants that this process has run


def read(path: Path) -> list[dict[str, Any]]:
    """The records in `path`, none if there is no file. A line cut off by a kill is dropped."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")
    # what follows the last line break is empty, or cut off
    return [json.loads(line) for line in lines[:-1]]


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def forget(path: Path, names: Sequence[str]) -> None:
    """Drop the records of `names`."""
    write(path, [row for row in read(path) if row["rival"] not in names])


def run_missing(path: Path, suite: Suite, jobs: int = 1) -> None:
    """Run every (problem, contestant, seed) of `suite` that `path` does not hold, seed by seed,
    those of slow optimisers last, in `jobs` processes or, if 0, in this one. Rivals that are not
    installed are left out."""
    known = read(path)
    tasks = _missing(suite, known)
    if tasks and suite.always_anew:
        known = []
        tasks = _missing(suite, known)
    write(path, known)
    if not tasks:
        return
    with path.open("a") as file:
        for i, row in enumerate(_results(tasks, jobs), start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                f"{suite.name} {i}/{len(tasks)} {row['problem']} {row['rival']} {row['seed']}: "
                f"{row['best']:.6g}",
                file=sys.stderr,
            )


def _results(tasks: Sequence[Task], jobs: int) -> Iterator[dict[str, Any]]:
    if not jobs:
        yield from map(_run, tasks)
        return
    # A worker is replaced now and then: some rivals leak memory, and none may slow down those after
    # it.
    with multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=200) as pool:
        yield from pool.imap_unordered(_run, tasks)


def _missing(suite: Suite, known: Sequence[dict[str, Any]]) -> list[Task]:
    done = {(row["problem"], row["rival"], row["seed"]) for row in known}
    every = suite.seeds, len(suite.problems)
    tasks = [
        Task(suite.load, problem, name, suite.first_seed + i, suite.n_evaluations, suite.stop)
        for i in range(suite.seeds)
        for name in suite.rivals
        if BY_NAME[name].is_installed and i < suite.few.get(name, every)[0]
        for problem in suite.problems[: suite.few.get(name, every)[1]]
        if (problem, name, suite.first_seed + i) not in done
    ]
    return sorted(tasks, key=lambda task: task.rival in suite.few)


def _run(task: Task) -> dict[str, Any]:
    contestant = BY_NAME[task.rival]
    problem = task.load(task.problem, task.seed)
    bits = max(problem.n_choices) == 2 and problem.n_values == 1
    run = contestant.bits if contestant.bits and bits else contestant.run
    if task.rival not in _warm:  # its package is imported: that is not the time of a run
        minimise(run, problem, _FIRST, task.seed)
        _warm.add(task.rival)
        problem = task.load(task.problem, task.seed)  # what is drawn is drawn anew
    trajectory = minimise(run, problem, task.n_evaluations, task.seed, stop_at_optimum=task.stop)
    row = {"problem": task.problem, "rival": task.rival, "seed": task.seed}
    return {**row, **trajectory.record()}
