"""One search with many candidates out, and the same evaluations by several smaller ones.

    python -m benchmarks.islands --out runs/DATE_islands

A driver keeps so many workers busy (`ray_scaling.py`). Beyond that, several searches divide the
workers: apart, or as islands that begin anew from the best of all of them every so many evaluations
(`--warm-from`), which depends on evaluations counted and on nothing else. NK landscapes, whose
optimum is known exactly; a regret is what the best found lacks to it, in % of what a median random
genome lacks. Writes islands.json."""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, median
from typing import Any

from clso.engine import EngineConfig
from clso.prove.statistics import describe
from clso.search.optimizer import Optimizer
from clso.search_spaces.nk import NK
from clso.space.results import Evaluation

__all__ = ["islands", "search"]

_GENES, _NEIGHBOURS = 48, (2, 6)
_OUT = 1024
_ISLANDS = ((1, 1), (4, 1), (4, 2), (4, 4), (16, 4))  # and epochs; one: apart


def search(
    space: NK, seed: int, n: int, at_a_time: int, warm_from: Sequence[Sequence[Evaluation]] = ()
) -> list[Evaluation]:
    """`n` evaluations of a search, `at_a_time` of them asked for and told together."""
    config = EngineConfig(pop_size=at_a_time)
    optimizer = Optimizer(space, surrogate=None, config=config, seed=seed, warm_from=warm_from)
    objective, found = space.objective(), list[Evaluation]()
    while len(found) < n:
        measured = objective.evaluate(optimizer.ask(min(at_a_time, n - len(found))), 0)
        optimizer.tell(measured)
        found += measured
    return found


def islands(space: NK, seed: int, n: int, count: int, epochs: int) -> list[Evaluation]:
    """`n` evaluations by `count` searches, each of which begins every epoch from the best of what
    all of them measured in the last."""
    last: list[list[Evaluation]] = []
    found = list[Evaluation]()
    for epoch in range(epochs):
        seeds = [(seed * epochs + epoch) * count + island for island in range(count)]
        last = [search(space, s, n // epochs // count, _OUT // count, last) for s in seeds]
        found += [evaluation for one in last for evaluation in one]
    return found


def _name(count: int, epochs: int) -> str:
    how = f", {epochs} epochs" if epochs > 1 else ", apart" if count > 1 else ""
    return f"{count} x {_OUT // count}{how}"


def measure(k: int, n: int, seeds: int) -> dict[str, Any]:
    """Regrets by search, in the order of the seeds, each of which draws a landscape."""
    ways = {_name(*how): how for how in _ISLANDS}
    regrets: dict[str, list[float]] = {name: [] for name in ways}
    for seed in range(seeds):
        space = NK(NK.Options(n=_GENES, k=k, seed=seed))
        assert space.optimum is not None
        drawn = search(space, seed, 101, 101)  # a first generation is random
        scale = median(e.value for e in drawn) - space.optimum
        for name, how in ways.items():
            best = min(e.value for e in islands(space, seed, n, *how))
            regrets[name].append(100 * (best - space.optimum) / scale)
    first = regrets[_name(1, 1)]
    return {
        name: {
            "regret": fmean(found),
            "less_one_search": describe([a - b for a, b in zip(found, first, strict=True)]),
            "regrets": found,
        }
        for name, found in regrets.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--evaluations", type=int, default=16384)
    parser.add_argument("--seeds", type=int, default=6)
    args = parser.parse_args()
    found = {
        "command": shlex.join(["python", "-m", "benchmarks.islands", *sys.argv[1:]]),
        "evaluations": args.evaluations,
        "genes": _GENES,
        "neighbours": {k: measure(k, args.evaluations, args.seeds) for k in _NEIGHBOURS},
    }
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "islands.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
