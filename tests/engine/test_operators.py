from __future__ import annotations

import math
import random
from collections import Counter
from math import comb

import pytest

from clso.engine import Engine, EngineConfig
from clso.engine.operators import (
    Individual,
    flip,
    heavy_tailed,
    jump,
    make_toolbox,
    mutate,
    select,
    uniform_crossover,
)
from clso.space import Genome
from clso.space.choices import Choices
from clso.space.results import Evaluation


def test_tournament_draws_as_order_statistics_say() -> None:
    population, rng = [Individual([i], float(i)) for i in range(10)], random.Random(0)
    wins = Counter(int(select(population, 3, rng).value) for _ in range(20_000))
    for i in range(10):  # the best of three uniform draws
        expected = ((10 - i) ** 3 - (9 - i) ** 3) / 1000
        assert wins[i] / 20_000 == pytest.approx(expected, abs=0.012)


@pytest.mark.parametrize("rate", [0.0, 0.05, 0.5, 1.0])
def test_each_gene_mutates_with_its_rate_to_each_other_allele(rate: float) -> None:
    rng, n_choices = random.Random(1), [2, 1, 4, 3]
    seen = [Counter[int]() for _ in n_choices]
    for _ in range(8_000):
        child = [1, 0, 2, 0]
        mutate(child, n_choices, [0, 2, 3], rate, rng)
        for count, allele in zip(seen, child, strict=True):
            count[allele] += 1
    assert seen[1] == {0: 8_000}
    for gene, own in ((0, 1), (2, 2), (3, 0)):
        assert seen[gene][own] / 8_000 == pytest.approx(1 - rate, abs=0.025)
        others = [seen[gene][a] / 8_000 for a in range(n_choices[gene]) if a != own]
        assert others == pytest.approx([rate / len(others)] * len(others), abs=0.025)


def test_crossover_swaps_half_of_what_differs_and_loses_nothing() -> None:
    rng, swapped = random.Random(2), 0
    for _ in range(500):
        a, b = [0] * 8 + [3, 3], [1] * 8 + [3, 3]
        uniform_crossover(a, b, rng)
        assert [x + y for x, y in zip(a, b, strict=True)] == [1] * 8 + [6, 6]
        swapped += sum(a[:8])
    assert swapped / 4_000 == pytest.approx(0.5, abs=0.03)


def test_jumps_have_a_heavy_tail() -> None:
    rng, lengths = random.Random(3), []
    for _ in range(10_000):
        child = [0] * 400
        jump(child, [1000] * 400, range(400), rng)
        lengths.append(sum(a != 0 for a in child))
    for m in (2, 3, 5):
        assert sum(k >= m for k in lengths) / 10_000 == pytest.approx(1 / m**2, abs=0.015)
    assert max(lengths) > 20


def test_a_jump_is_as_many_flips() -> None:
    n_choices, free = [2, 1, 5, 3, 300], [0, 2, 3, 4]
    ours, theirs = random.Random(3), random.Random(3)
    one, other = [1, 0, 2, 0, 7], [1, 0, 2, 0, 7]
    for _ in range(200):
        jump(one, n_choices, free, ours)
        for _ in range(heavy_tailed(len(free), theirs)):
            flip(other, n_choices, free, theirs)
        assert one == other


def test_deaps_operators_can_take_the_place_of_ours() -> None:
    toolbox = make_toolbox([2] * 4, tournament=2, mutation=0.5, rng=random.Random(0))
    toolbox.register("mutate", lambda child: child.reverse())
    child = [0, 0, 1, 1]
    toolbox.mutate(child)
    assert child == [1, 1, 0, 0]


def leading_ones(genome: Genome) -> float:
    return float(next((i for i, a in enumerate(genome) if not a), len(genome)))


def onemax_time(n: int) -> float:
    """Exact expected evaluations of the (1+1) EA on OneMax from a uniform start: its chain over the
    number of zeros."""
    p, expected = 1 / n, [0.0] * (n + 1)
    for zeros in range(1, n + 1):
        better, then = 0.0, 0.0
        for up in range(1, zeros + 1):
            for down in range(min(up, n - zeros + 1)):
                q = (
                    comb(zeros, up)
                    * comb(n - zeros, down)
                    * p ** (up + down)
                    * (1 - p) ** (n - up - down)
                )
                better, then = better + q, then + q * expected[zeros - up + down]
        expected[zeros] = (1 + then) / better
    return 1 + sum(comb(n, z) * expected[z] for z in range(n + 1)) / 2**n


def leading_ones_time(n: int) -> float:
    """Exact (Boettcher, Doerr & Neumann 2010), and the first evaluation."""
    return 1 + n**2 / 2 * ((1 - 1 / n) ** (1 - n) - (1 - 1 / n))


@pytest.mark.parametrize(
    ("n", "function", "theory"),
    [(16, lambda g: float(sum(g)), onemax_time(16)), (12, leading_ones, leading_ones_time(12))],
    ids=["onemax", "leading-ones"],
)
def test_one_plus_one_takes_the_time_that_theory_says(
    n: int, function: object, theory: float
) -> None:
    times = []
    for seed in range(700):
        engine = Engine(Choices([2] * n), EngineConfig.one_plus_one(), seed=seed)
        while engine.best is None or engine.best.value > -n:
            (genome,) = engine.ask(1)
            engine.tell([Evaluation(genome, 0, (-function(genome),))])  # type: ignore[operator]
        # in theory a genome seen before is evaluated again
        times.append(engine.n_evaluated + engine.n_cached)
    mean = math.fsum(times) / len(times)
    assert mean == pytest.approx(theory, rel=0.05)
