"""Configurations that fail: tables like those of tuning GPU kernels, about half of them invalid.

    python -m benchmarks.field.failures --out runs/DATE_failures

300 evaluations, failed ones counted. The regret is the logarithm of the best time found over the
table's least. Tables and seeds below 100 are those that choices were made on; `kernels.py` says what
the tables are, which were changed twice after results of the lower ones had been seen."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.field.experiment import Row, arguments, difference, grid, measure
from benchmarks.field.kernels import GENES, table

__all__ = ["VARIANTS", "page"]

EVALUATIONS = 300
TABLES = 10
_SIZES = tuple(len(values) for values in GENES.values())

Measure = Callable[[Sequence[int]], float]


def _run(search: Callable[[Measure, int], None]) -> Callable[[str, int], dict[str, float]]:
    def run(problem: str, seed: int) -> dict[str, float]:
        times, found = table(int(problem)), list[float]()

        def evaluate(genome: Sequence[int]) -> float:
            found.append(times[tuple(genome)])
            return found[-1]

        search(evaluate, seed)
        assert len(found) == EVALUATIONS
        least = min(times.values())
        return {
            "regret": math.log(min(found) / least),
            "regret_100": math.log(min(found[:100]) / least),
            "invalid": sum(map(math.isinf, found)),
        }

    return run


def _clso(**how: Any) -> Callable[[Measure, int], None]:
    def search(evaluate: Measure, seed: int) -> None:
        from clso import Optimizer
        from clso.screening.config import ScreeningConfig

        screening = ScreeningConfig(failures=how.get("failures", True))
        surrogate = how.get("surrogate", "gp")
        optimizer = Optimizer(_SIZES, seed=seed, surrogate=surrogate, screening=screening)
        for _ in range(EVALUATIONS):
            (genome,) = optimizer.ask()
            optimizer.tell(genome, evaluate(genome))

    return search


def _random(evaluate: Measure, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(EVALUATIONS):
        evaluate([rng.randrange(n) for n in _SIZES])


def _tpe(evaluate: Measure, seed: int) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(
        seed=seed, multivariate=True, warn_independent_sampling=False
    )
    study = optuna.create_study(sampler=sampler)

    def objective(trial: Any) -> float:
        return evaluate([trial.suggest_categorical(str(i), range(n)) for i, n in enumerate(_SIZES)])

    study.optimize(objective, EVALUATIONS)


VARIANTS = {
    "CLSO": _run(_clso()),
    "CLSO, failures teach nothing": _run(_clso(failures=False)),
    "CLSO, no surrogate": _run(_clso(surrogate=None)),
    "Optuna TPE": _run(_tpe),
    "random": _run(_random),
}


def page(rows: list[Row]) -> str:
    """README.md of a folder of records."""
    keys = {
        "invalid of 300": "invalid:.0f",
        "regret": "regret:.3f",
        "regret at 100": "regret_100:.3f",
        "CPU s": "cpu_s:.2f",
    }
    tables, seeds = ({row[key] for row in rows} for key in ("problem", "seed"))
    parts = [
        "# Configurations that fail",
        (__doc__ or "").strip(),
        f"{len(tables)} tables, {len(seeds)} seeds each; means with 95 % intervals.",
        grid(rows, list(VARIANTS), keys),
    ]
    for other in list(VARIANTS)[1:]:
        for key, what in (("regret", "Regret"), ("regret_100", "Regret at 100")):
            parts.append(difference(rows, "CLSO", other, key, f"{what} of CLSO"))
    return "\n\n".join(parts) + "\n"


def main() -> None:
    out, seeds = arguments(__doc__, 6)
    problems = [str(seeds.start + i) for i in range(TABLES)]
    rows = measure(out / "records.jsonl", VARIANTS, problems, seeds)
    (out / "README.md").write_text(page(rows))


if __name__ == "__main__":
    main()
