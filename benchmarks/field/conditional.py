"""Conditional genes: a selector of four, each option with two genes of its own, and two genes of all.

Each gene has six alleles: 5,184 candidates, as 241,864,704 genomes. An instance is drawn by its
seed: the value is the option's own, plus, for each gene, a bowl around an allele that is best for
it, plus a smaller random table (up to `pairs`; 0: genes add up) for each pair of genes that are
active together.

    python -m benchmarks.field.conditional --instances 5 --seeds 20

prints on how many seeds each optimiser finds the best candidate, the median evaluations to it, how
many evaluations repeat a candidate, and the CPU time."""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import combinations, product
from statistics import fmean, median
from typing import Any

__all__ = ["ALLELES", "OPTIONS", "Instance", "choices"]

OPTIONS = ("a", "b", "c", "d")
ALLELES = 6
_SHARED = ("s0", "s1")


class Spent(Exception):
    """The way out of an optimiser's loop."""


class Instance:
    """Values of candidates, from 0 up; `best` is the least."""

    def __init__(self, seed: int, pairs: float = 0.3) -> None:
        rng = random.Random(f"conditional {seed}")
        self._offset = {option: rng.uniform(0, 1) for option in OPTIONS}
        names = [*_SHARED, *(f"{option}{i}" for option in OPTIONS for i in range(2))]
        self._bowl = {}
        for name in names:
            centre, depth = rng.randrange(ALLELES), rng.uniform(0.3, 1)
            self._bowl[name] = [depth * abs(i - centre) / (ALLELES - 1) for i in range(ALLELES)]
        self._pair = {
            (a, b): [[rng.uniform(0, pairs) for _ in range(ALLELES)] for _ in range(ALLELES)]
            for option in OPTIONS
            for a, b in combinations((*_SHARED, f"{option}0", f"{option}1"), 2)
        }
        self.best = min(
            self({"option": option, **dict(zip(_active(option), alleles, strict=True))})
            for option in OPTIONS
            for alleles in product(range(ALLELES), repeat=4)
        )

    def __call__(self, x: dict[str, Any]) -> float:
        names = _active(x["option"])
        value = self._offset[x["option"]] + sum(self._bowl[name][x[name]] for name in names)
        pairs = combinations(names, 2)
        return float(value + sum(self._pair[a, b][x[a]][x[b]] for a, b in pairs))


def _active(option: str) -> tuple[str, ...]:
    return (*_SHARED, f"{option}0", f"{option}1")


def choices() -> dict[str, Any]:
    """The space, for `minimize`. Alleles are labels: that they are numbers is not said."""
    labels = [str(i) for i in range(ALLELES)]
    own = {option: {f"{option}0": labels, f"{option}1": labels} for option in OPTIONS}
    return {"option": own, **dict.fromkeys(_SHARED, labels)}


def _numbers(x: dict[str, Any]) -> dict[str, Any]:
    return {name: value if name == "option" else int(value) for name, value in x.items()}


def clso(function: Callable[[dict[str, Any]], float], seed: int) -> None:
    from clso.search.optimizer import Optimizer

    optimizer = Optimizer(choices(), seed=seed)
    while asked := optimizer.ask():
        optimizer.tell(asked[0], function(_numbers(optimizer.decode(asked[0]))))


def random_search(function: Callable[[dict[str, Any]], float], seed: int) -> None:
    rng = random.Random(seed)
    while True:
        option = rng.choice(OPTIONS)
        function({"option": option, **{name: rng.randrange(ALLELES) for name in _active(option)}})


def optuna_tpe_group(function: Callable[[dict[str, Any]], float], seed: int) -> None:
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, group=True)
    study = optuna.create_study(sampler=sampler)
    labels = list(range(ALLELES))
    while True:
        trial = study.ask()
        option = trial.suggest_categorical("option", OPTIONS)
        x = {name: trial.suggest_categorical(name, labels) for name in _active(option)}
        study.tell(trial, function({"option": option, **x}))


OPTIMISERS = {"clso": clso, "optuna-tpe-group": optuna_tpe_group, "random": random_search}


def run(name: str, instance: Instance, seed: int, n_evaluations: int) -> dict[str, Any]:
    """One run: `found_at` is the evaluation that found the best, None if none did."""
    seen: list[float] = []
    keys = set()

    def function(x: dict[str, Any]) -> float:
        value = instance(x)
        seen.append(value)
        keys.add(tuple(sorted(x.items())))
        if len(seen) >= n_evaluations:
            raise Spent
        return value

    begin_s = time.process_time()
    with suppress(Spent):
        OPTIMISERS[name](function, seed)
    hit = next((i for i, v in enumerate(seen, 1) if v <= instance.best + 1e-12), None)
    return {
        "found_at": hit,
        "regret": min(seen) - instance.best,
        "repeats": len(seen) - len(keys),
        "time_us": (time.process_time() - begin_s) / len(seen) * 1e6,
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--instances", type=int, default=5)
    parser.add_argument("--first", type=int, default=0, help="the first instance's seed")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--pairs", type=float, default=0.3, help="how much genes act together")
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--only", default=",".join(OPTIMISERS), help="names, comma-separated")
    args = parser.parse_args()
    for name in args.only.split(","):
        rows = []
        for number in range(args.first, args.first + args.instances):
            instance = Instance(number, args.pairs)
            runs = [run(name, instance, seed, args.evaluations) for seed in range(args.seeds)]
            rows += runs
            print(f"{name:18} instance {number}: {_said(runs)}", flush=True)
        print(f"{name:18} all:        {_said(rows)}", flush=True)


def _said(rows: list[dict[str, Any]]) -> str:
    found = [row["found_at"] for row in rows if row["found_at"]]
    to_it = median(row["found_at"] or float("inf") for row in rows)
    return (
        f"found {len(found)}/{len(rows)}, median {to_it:g}, "
        f"mean regret {fmean(row['regret'] for row in rows):.4f}, "
        f"{fmean(row['repeats'] for row in rows):.1f} repeats, "
        f"{fmean(row['time_us'] for row in rows):.0f} us an evaluation"
    )


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
