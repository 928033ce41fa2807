"""What both kits share: strategies for genomes, and properties that are checked on the same
examples in every run."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from clso.space import Genome, SearchSpace

__all__ = ["feasible", "for_all", "genomes", "random_states", "untouched_randomness"]

_MANY_GENES = 200  # above, a draw allele by allele would exceed what Hypothesis allows an example

random_states = st.integers(0, 2**32 - 1)


def genomes(space: SearchSpace) -> st.SearchStrategy[Genome]:
    """A strategy for feasible genomes of `space`; of infeasible draws, those that `repair` makes
    feasible."""
    sizes = [len(gene) for gene in space.genes]
    drawn: st.SearchStrategy[Genome]
    if len(sizes) <= _MANY_GENES:
        drawn = st.tuples(*(st.integers(0, n - 1) for n in sizes))
    else:
        drawn = random_states.map(lambda seed: space.sample(random.Random(seed)))
    return drawn.map(lambda g: space.repair(g, random.Random(0))).filter(
        lambda g: feasible(space, g)
    )


def feasible(space: SearchSpace, genome: Genome) -> bool:
    return all(value <= 0 for value in space.constraints(genome))


def for_all(
    n: int, check: Callable[..., None], *strategies: st.SearchStrategy[Any], shrink: bool = True
) -> None:
    """Run `check` on `n` examples of its arguments; a counterexample is shown, with `shrink` the
    smallest found.

    The function is made here, and not by a decorator, since the strategies follow from the space
    under test."""
    slow = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    options = settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        phases=[Phase.generate, Phase.shrink] if shrink else [Phase.generate],
        suppress_health_check=slow,
    )
    options(given(*strategies)(check))()


@contextmanager
def untouched_randomness() -> Iterator[None]:
    """The block leaves the global random streams alone: who draws from them cannot be repeated."""
    before = _streams()
    yield
    if _streams() != before:
        raise AssertionError(
            "a global random stream was used; take numbers from the generator that is given"
        )


def _streams() -> tuple[object, ...]:
    numpy: Any = np.random.get_state()
    torch = sys.modules.get("torch")  # whoever has not imported it cannot have drawn from it
    return (
        random.getstate(),
        numpy[1].tobytes(),
        numpy[2],
        torch and torch.get_rng_state().numpy().tobytes(),
    )
