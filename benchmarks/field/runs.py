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
from benchmarks.field.suites import load
from benchmarks.field.trajectory import minimise

__all__ = ["forget", "read", "run_missing", "write"]

Task = tuple[str, str, int, int, bool]
"""Problem, contestant, seed, evaluations, whether to stop at the optimum."""


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


def run_missing(
    path: Path,
    problems: Sequence[str],
    names: Sequence[str],
    seeds: int,
    n_evaluations: int,
    stop: bool,
    jobs: int,
) -> None:
    """Run every (problem, contestant, seed) that `path` does not hold, seed by seed."""
    known = read(path)
    write(path, known)
    done = {(row["problem"], row["rival"], row["seed"]) for row in known}
    tasks: list[Task] = [
        (problem, name, seed, n_evaluations, stop)
        for seed in range(seeds)
        for name in names
        for problem in problems
        if (problem, name, seed) not in done
    ]
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


def _run(task: Task) -> dict[str, Any]:
    problem, name, seed, n_evaluations, stop = task
    contestant = BY_NAME[name]
    run = contestant.pbo if contestant.pbo and problem.startswith("pbo/") else contestant.run
    trajectory = minimise(run, load(problem, seed), n_evaluations, seed, stop_at_optimum=stop)
    return {"problem": problem, "rival": name, "seed": seed, **trajectory.record()}
