"""What the optimisers themselves cost: OneMax, whose own time is next to nothing, interleaved in
one process."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks.field import ours, rivals
from benchmarks.field.contestants import CONTESTANTS
from benchmarks.field.suites import load
from benchmarks.field.trajectory import Minimiser, minimise

__all__ = ["measure"]

_LONG = 5000  # evaluations, for those that are not _SLOW
_SHORT = 200
# their cost an evaluation grows with the evaluations before it: minutes for 5,000
_SLOW = (
    "optuna-tpe",
    "smac3",
)
_ONCE = ("smac3",)  # minutes even for 200: measured in the first round only

# (label, minimiser with its population, population, genes): three generations' worth of evaluations
# each
_SCALE: tuple[tuple[str, Minimiser, int, int], ...] = tuple(
    (label, partial(run, pop=pop), pop, genes)
    for pop, genes in ((10_000, 100), (100, 10_000))
    for label, run in (
        ("CLSO", ours.scaled),
        ("DEAP eaSimple", rivals.deap_ea_simple),
        ("pymoo GA", rivals.pymoo_ga),
    )
)


def _microseconds(run: Minimiser, n_bits: int, n_evaluations: int, seed: int) -> float:
    trajectory = minimise(run, load(f"onemax/{n_bits}", seed), n_evaluations, seed)
    return 1e6 * trajectory.time_s / len(trajectory.steps)


def measure(names: Sequence[str], repeats: int) -> list[dict[str, Any]]:
    """Microseconds an evaluation by contestant, in rounds over all of them; then seconds a
    generation at scale."""
    chosen = [c for c in CONTESTANTS if c.name in names]
    for contestant in chosen:
        _microseconds(contestant.pbo or contestant.run, 10, 20, 0)  # imports are not counted
    rows: list[dict[str, Any]] = []
    for repeat in range(repeats):
        for n_evaluations in (_SHORT, _LONG):
            for contestant in chosen:
                if (n_evaluations == _LONG and contestant.name in _SLOW) or (
                    repeat and contestant.name in _ONCE
                ):
                    continue
                time_us = _microseconds(
                    contestant.pbo or contestant.run, 100, n_evaluations, repeat
                )
                row = {"kind": "overhead", "rival": contestant.name, "repeat": repeat}
                rows.append({**row, "n_evaluations": n_evaluations, "time_us": round(time_us, 2)})
        for label, run, pop, genes in _SCALE:
            time_us = _microseconds(run, genes, 3 * pop, repeat)
            scale = {"kind": "scale", "label": label, "repeat": repeat, "pop": pop, "genes": genes}
            rows.append({**scale, "generation_s": round(time_us * pop / 1e6, 4)})
    return rows
