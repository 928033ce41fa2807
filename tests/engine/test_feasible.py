"""Feasible genomes that random draws hardly ever hit."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable

import pytest
from toys import Toy

from clso import minimize
from clso.engine import Engine, EngineConfig
from clso.errors import ConfigError, SearchWarning
from clso.search.optimizer import Optimizer
from clso.space import Genome


class Rare(Toy):
    """Feasible where `broken` is not above 0."""

    name = "rare"

    def __init__(self, sizes: list[int], broken: Callable[[Genome], float]) -> None:
        super().__init__(sizes, lambda g: float(sum(i * a for i, a in enumerate(g))))
        self.broken = broken

    def constraints(self, genome: Genome) -> tuple[float, ...]:
        return (self.broken(genome),)


def exactly(n: int) -> Callable[[Genome], float]:
    return lambda genome: float(abs(sum(genome) - n))


def is_permutation(genome: Genome) -> float:
    return float(len(genome) - len(set(genome)))


@pytest.mark.parametrize(
    ("space", "n_feasible"),
    [
        (Rare([2] * 24, exactly(3)), math.comb(24, 3)),
        (Rare([2] * 30, lambda g: sum(g) - 2.0), 1 + 30 + 435),
        (Rare([10] * 6, lambda g: len(set(g)) - 1.0), 10),
        (Rare([9] * 9, is_permutation), math.factorial(9)),
        (Rare([12] * 12, is_permutation), math.factorial(12)),
        (
            Rare([2] * 16, lambda g: float(g not in ((1,) * 16, (0, 1) * 8))),
            2,
        ),  # no slope leads there
    ],
    ids=[
        "3 of 24 bits",
        "at most 2 of 30",
        "equal digits",
        "permutations of 9",
        "of 12",
        "needles",
    ],
)
def test_feasible_genomes_are_found_for_as_long_as_there_are_some(
    space: Rare, n_feasible: int
) -> None:
    engine, wanted, seen = (
        Engine(space, EngineConfig(pop_size=10)),
        min(n_feasible, 150),
        set[Genome](),
    )
    while len(seen) < wanted:
        batch = engine.ask(min(10, wanted - len(seen)))
        assert batch, engine.shortfall
        assert all(space.broken(genome) <= 0 for genome in batch)
        assert not seen & set(batch)
        seen.update(batch)
        engine.tell(space.measure(batch))


def test_the_search_goes_downhill_among_rare_genomes() -> None:
    result = minimize(
        lambda g: sum(i * a for i, a in enumerate(g)),
        Rare([2] * 24, exactly(3)),
        150,
        surrogate=None,
    )
    assert result.value == 0 + 1 + 2


def test_limits_on_costs_are_walked_down_like_constraints() -> None:
    engine = Engine(Toy([4] * 20), limits=lambda genome: (sum(genome) - 2.0,))
    batch = engine.ask(20)
    assert len(batch) == 20
    assert all(sum(genome) <= 2 for genome in batch)


def test_an_end_that_was_proven_says_nothing() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = minimize(sum, Rare([3] * 4, exactly(1)), 50)
    assert len(result.evaluations) == 4


def test_an_end_that_was_not_proven_says_so() -> None:
    seed = (1,) * 24
    optimizer = Optimizer(Rare([2] * 24, lambda g: float(g != seed)), surrogate=None, seeds=[seed])
    optimizer.tell(optimizer.ask()[0], 1.0)
    with pytest.warns(
        SearchWarning, match=r"none of 16,384 draws gave another genome that meets the constraints"
    ):
        assert optimizer.ask() == []


@pytest.mark.parametrize(
    ("n", "message"), [(4, "no other of all 16 genomes"), (24, "none of 16,384 draws")]
)
def test_nothing_feasible_at_all_is_an_error_that_blames_the_constraints(
    n: int, message: str
) -> None:
    for broken in (1.0, math.nan, math.inf):
        with pytest.raises(ConfigError, match=f"{message}.*meets the constraints"):
            minimize(sum, Rare([2] * n, lambda g, broken=broken: broken), 10)  # type: ignore[misc]


def test_a_restored_engine_finds_the_same() -> None:
    space = Rare([7] * 7, is_permutation)
    engines = [Engine(space, EngineConfig(pop_size=6), seed=4) for _ in range(2)]
    for _ in range(4):
        engines[0].tell(space.measure(engines[0].ask()))
    engines[1].load_state_dict(engines[0].state_dict())
    assert engines[1].ask() == engines[0].ask()
