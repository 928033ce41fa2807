"""The registry: every suite of the page, the suites of long runs, and the problems by their names.

A module with more problems plugs in with one line: its `SUITE` is listed in `SUITES`."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.field import (
    bits,
    conditional,
    failures,
    fronts,
    noise,
    order,
    overhead,
    parallel,
    problems,
    rungs,
    transfer,
)
from benchmarks.field.invited import BITS, EVERYBODY, SLOW
from benchmarks.field.problem import EVALUATIONS, Problem, Suite, family

__all__ = ["LONG", "SUITES", "load"]

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        problems.CELLS,
        problems.HYPERPARAMETERS,
        order.SUITE,
        conditional.SUITE,
        failures.SUITE,
        fronts.SUITE,
        noise.SUITE,
        rungs.SUITE,
        transfer.SUITE,
        parallel.SUITE,
        bits.SUITE,
        problems.LINKAGE,
        overhead.SUITE,
        overhead.TRUST,
    )
}

LONG: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        Suite(
            "nasbench",
            "NAS-Bench-201",
            "",
            problems.NASBENCH,
            problems.table,
            n_evaluations=300,
            rivals=tuple(name for name in EVERYBODY if name not in SLOW),
            seeds=20,
        ),
        Suite(
            "pbo",
            "Pseudo-Boolean functions (PBO)",
            "",
            problems.PBO,
            problems.pbo,
            n_evaluations=10_000,
            rivals=tuple(
                name
                for name in BITS
                if name not in ("random", "local-search", "regularized-evolution-20-5")
            ),
            seeds=20,
            stop=True,
            columns=(EVALUATIONS,),
        ),
    )
}
"""Their page is tables.py's."""

_FAMILIES: dict[str, Callable[[str, int], Problem]] = {
    **{family(name): suite.load for suite in SUITES.values() for name in suite.problems},
    "onemax": problems.onemax,
    "pbo": problems.pbo,
}


def load(name: str, seed: int) -> Problem:
    """The problem FAMILY/INSTANCE as `seed` has it. Raises ValueError for an unknown one."""
    found = _FAMILIES.get(family(name))
    if found is None:
        raise ValueError(f"no problem {name!r}; there are {', '.join(sorted(_FAMILIES))}")
    return found(name, seed)
