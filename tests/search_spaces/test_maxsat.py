from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from clso.errors import ConfigError
from clso.search_spaces.maxsat import MaxSat


@pytest.mark.parametrize("seed", range(5))
def test_values_are_counts_of_unsatisfied_clauses(seed: int) -> None:
    """Against plain loops over all assignments; the planted one and its complement reach the
    optimum."""
    space = MaxSat(MaxSat.Options(n=9, seed=seed))
    clauses = [
        list(zip(*c, strict=True))
        for c in zip(space.variables.tolist(), space.wanted.tolist(), strict=True)
    ]
    assert len(clauses) == round(4.27 * 9)
    assert all(len({v for v, _ in clause}) == 3 for clause in clauses)
    genomes = list(itertools.product((0, 1), repeat=9))
    values = {e.genome: e.value for e in space.objective().evaluate(genomes, 0)}
    for genome, value in values.items():
        assert value == sum(all(genome[v] != want for v, want in clause) for clause in clauses)
    assert min(values.values()) == space.optimum == 0
    assert values[space.planted] == values[tuple(1 - bit for bit in space.planted)] == 0


def test_counting_literals_does_not_give_the_solution_away() -> None:
    """Both signs of the planted assignment are as frequent, up to chance."""
    space = MaxSat(MaxSat.Options(n=2000, seed=3))
    agree = (space.wanted == np.array(space.planted)[space.variables]).mean()
    assert agree == pytest.approx(0.5, abs=4 * 0.5 / math.sqrt(space.variables.size))


def test_equal_seeds_give_equal_formulas_on_any_machine() -> None:
    space = MaxSat(MaxSat.Options(n=6, ratio=0.5))
    assert space.planted == (1, 0, 1, 1, 0, 0)
    assert space.variables.tolist() == [[2, 4, 3], [3, 2, 5], [2, 4, 1]]
    assert space.wanted.tolist() == [[1, 1, 1], [0, 1, 1], [1, 0, 1]]
    assert MaxSat(MaxSat.Options(seed=1)).planted != MaxSat().planted


def test_a_batch_is_fast_and_a_genome_reads_as_an_assignment() -> None:
    space = MaxSat()
    assert space.decode(space.planted) == tuple(bit == 1 for bit in space.planted)
    assert [e.value for e in space.objective().evaluate([space.planted] * 3, 0)] == [0.0] * 3
    assert {g.choices for g in space.genes} == {("false", "true")}


@pytest.mark.parametrize(
    "wrong", [{"n": 2}, {"ratio": 0.0}, {"ratio": math.nan}, {"ratio": 1e9}, {"seed": -1}]
)
def test_bad_options(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        MaxSat.Options(**wrong)  # type: ignore[arg-type]
