"""Two unknown objectives: error and latency of NAS-Bench-201's cells, both measured.

    python -m benchmarks.field.fronts --out runs/DATE_fronts

The share is the hypervolume of what was found over that of the table's front, up to a reference a
tenth of the front's width behind it, after 300 evaluations. Rivals run at their defaults: Optuna's
multi-objective TPE and NSGA-II. Choices were made on CIFAR-100 and other seeds."""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import cache
from typing import Any

import moocore
import numpy as np
import numpy.typing as npt

from benchmarks.field.experiment import Row, arguments, by_problem, measure

__all__ = ["VARIANTS", "page", "share"]

EVALUATIONS = 300
PROBLEMS = ("cifar10", "cifar100", "imagenet")
_SIZES = (5,) * 6
_PLACES = 5 ** np.arange(6)[::-1]

Floats = npt.NDArray[np.float64]


@cache
def _table(problem: str) -> tuple[Floats, Floats, float]:
    """Error and latency of every cell (n, 2), the reference, the front's hypervolume."""
    from clso.search_spaces.nasbench201 import read_table

    error, latency_s, _ = read_table(problem)
    points = np.stack([error, latency_s], axis=1)
    front = points[moocore.is_nondominated(points)]
    reference = front.max(0) + 0.1 * (front.max(0) - front.min(0))
    return points, reference, float(moocore.hypervolume(front, ref=reference))


def share(problem: str, cells: list[int]) -> float:
    """The share of the true front's hypervolume that those rows of the table have."""
    points, reference, whole = _table(problem)
    return float(moocore.hypervolume(points[cells], ref=reference)) / whole


def _clso(surrogate: str | None) -> Callable[[str, int], dict[str, float]]:
    def run(problem: str, seed: int) -> dict[str, float]:
        from clso import Optimizer

        points, cells = _table(problem)[0], list[int]()
        optimizer = Optimizer(
            _SIZES, surrogate=surrogate, objectives=("error", "latency"), seed=seed
        )
        while len(cells) < EVALUATIONS:
            (genome,) = optimizer.ask()
            cells.append(int(np.dot(genome, _PLACES)))
            optimizer.tell(genome, tuple(points[cells[-1]]))
        return {"share": share(problem, cells)}

    return run


def _random(problem: str, seed: int) -> dict[str, float]:
    rng = random.Random(seed)
    return {"share": share(problem, rng.sample(range(len(_table(problem)[0])), EVALUATIONS))}


def _optuna(make: Callable[[Any, int], Any]) -> Callable[[str, int], dict[str, float]]:
    def run(problem: str, seed: int) -> dict[str, float]:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        points, cells = _table(problem)[0], list[int]()

        def objective(trial: Any) -> tuple[float, float]:
            genome = [trial.suggest_categorical(str(i), range(5)) for i in range(6)]
            cells.append(int(np.dot(genome, _PLACES)))
            error, latency = points[cells[-1]].tolist()
            return error, latency

        study = optuna.create_study(directions=["minimize"] * 2, sampler=make(optuna, seed))
        study.optimize(objective, EVALUATIONS)
        return {"share": share(problem, cells)}

    return run


VARIANTS = {
    "CLSO": _clso("gp"),
    "CLSO, no surrogate": _clso(None),
    "Optuna TPE": _optuna(lambda optuna, seed: optuna.samplers.TPESampler(seed=seed)),
    "Optuna NSGA-II": _optuna(lambda optuna, seed: optuna.samplers.NSGAIISampler(seed=seed)),
    "random": _random,
}


def page(rows: list[Row]) -> str:
    """README.md of a folder of records."""
    keys = {"share": "share:.3f", "CPU s": "cpu_s:.2f"}
    parts = ["# Two unknown objectives", (__doc__ or "").strip()]
    parts += by_problem(rows, PROBLEMS, list(VARIANTS), keys, "share", "CLSO")
    return "\n\n".join(parts) + "\n"


def main() -> None:
    out, seeds = arguments(__doc__, 15)
    rows = measure(out / "records.jsonl", VARIANTS, PROBLEMS, seeds)
    (out / "README.md").write_text(page(rows))


if __name__ == "__main__":
    main()
