"""The registry: every suite of the page, and the problems by their names.

A module with more problems plugs in with one line: its `SUITE` is listed in `SUITES`."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.field import bits, parallel, problems
from benchmarks.field.problem import Problem, Suite

__all__ = ["SUITES", "load"]

SUITES: dict[str, Suite] = {
    suite.name: suite
    for suite in (
        problems.CELLS,
        problems.NETWORKS,
        parallel.SUITE,
        bits.SUITE,
        problems.LINKAGE,
    )
}

_FAMILIES: dict[str, Callable[[str, int], Problem]] = {
    "onemax": problems.onemax,
    "pbo": problems.pbo,
    **{name.partition("/")[0]: suite.load for suite in SUITES.values() for name in suite.problems},
}


def load(name: str, seed: int) -> Problem:
    """The problem FAMILY/INSTANCE as `seed` has it. Raises ValueError for an unknown one."""
    family = _FAMILIES.get(name.partition("/")[0])
    if family is None:
        raise ValueError(f"no problem {name!r}; there are {', '.join(sorted(_FAMILIES))}")
    return family(name, seed)
