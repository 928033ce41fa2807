"""Large populations and long genomes: seconds a generation of OneMax, without a surrogate."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks.field import ours, rivals
from benchmarks.field.problems import onemax
from benchmarks.field.trajectory import Minimiser, minimise

__all__ = ["measure"]

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


def measure(repeats: int) -> list[dict[str, Any]]:
    """In rounds over all of them."""
    rows: list[dict[str, Any]] = []
    for repeat in range(repeats):
        for label, run, pop, genes in _SCALE:
            trajectory = minimise(run, onemax(f"onemax/{genes}", repeat), 3 * pop, repeat)
            generation_s = trajectory.time_s * pop / len(trajectory.steps)
            row = {"kind": "scale", "label": label, "repeat": repeat, "pop": pop, "genes": genes}
            rows.append({**row, "generation_s": round(generation_s, 4)})
    return rows
