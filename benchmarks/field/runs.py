"""Records of runs: one JSON line each, appended as it ends, so that an interrupted benchmark goes
on where it stopped."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.field.contestants import BY_NAME
from benchmarks.field.problem import Suite
from benchmarks.field.trajectory import minimise

__all__ = ["forget", "read", "run_missing", "write"]

Task = tuple[Suite, str, str, int]
"""Suite, problem, contestant, seed."""

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


def run_missing(path: Path, suite: Suite, names: Sequence[str], jobs: int = 1) -> None:
    """Run every (problem, contestant, seed) of `suite` that `path` does not hold, seed by seed, those of slow
    optimisers last."""
    known = read(path)
    write(path, known)
    done = {(row["problem"], row["rival"], row["seed"]) for row in known}
    tasks: list[Task] = [
        (suite, problem, name, seed)
        for seed in range(suite.seeds)
        for name in names
        for problem in suite.problems
        if (problem, name, seed) not in done and _takes_part(name, suite, problem, seed)
    ]
    tasks.sort(key=lambda task: BY_NAME[task[2]].slow)
    if not tasks:
        return
    # A worker is replaced now and then: some rivals leak memory, and none may slow down those after
    # it.
    pool = multiprocessing.get_context("spawn").Pool(jobs, maxtasksperchild=200)
    with pool, path.open("a") as file:
        for i, row in enumerate(pool.imap_unordered(_run, tasks), start=1):
            file.write(json.dumps(row) + "\n")
            file.flush()
            print(
                f"{i}/{len(tasks)} {row['problem']} {row['rival']} {row['seed']}: {row['best']:.6g}",
                file=sys.stderr,
            )


def _takes_part(name: str, suite: Suite, problem: str, seed: int) -> bool:
    """Slow optimisers run on the first seeds and problems only."""
    few = suite.problems[: suite.slow_problems]
    return not BY_NAME[name].slow or (seed < suite.slow_seeds and problem in few)


def _run(task: Task) -> dict[str, Any]:
    suite, name, rival, seed = task
    problem, contestant = suite.load(name, seed), BY_NAME[rival]
    bits = max(problem.n_choices) == 2 and problem.n_values == 1
    run = contestant.pbo if contestant.pbo and bits else contestant.run
    if rival not in _warm:  # its package is imported: that is not the time of a run
        minimise(run, problem, _FIRST, seed)
        _warm.add(rival)
    trajectory = minimise(run, problem, suite.n_evaluations, seed, stop_at_optimum=suite.stop)
    return {"problem": name, "rival": rival, "seed": seed, **trajectory.record()}
