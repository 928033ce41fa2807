from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clso.errors import ConfigError
from clso.search_spaces.nk import NK, ring_minimum


@settings(max_examples=60)
@given(st.data())
def test_the_optimum_is_that_of_brute_force(data: st.DataObject) -> None:
    alleles = data.draw(st.integers(2, 3))
    n = data.draw(st.integers(1, 9 if alleles == 2 else 6))
    k = data.draw(st.integers(0, n - 1 if alleles == 2 else min(n - 1, 3)))
    space = NK(NK.Options(n=n, k=k, alleles=alleles, seed=data.draw(st.integers(0, 1000))))
    genomes = list(itertools.product(range(alleles), repeat=n))
    values = [e.value for e in space.objective().evaluate(genomes, 0)]
    assert min(values) == space.optimum  # to the last bit
    assert 0 <= min(values) <= max(values) < 1


def test_a_gene_counts_where_its_neighbours_depend_on_it() -> None:
    """By the definition, in plain loops; and gene 5 changes the contributions of genes 3, 4 and 5
    only."""
    space = NK(NK.Options(n=10, k=2, alleles=3, seed=1))
    a = (0, 2, 1, 1, 0, 2, 2, 0, 1, 2)
    b = (*a[:5], 1, *a[6:])
    total = {
        g: [space._tables[(i, *(g[(i + j) % 10] for j in range(3)))] for i in range(10)]
        for g in (a, b)
    }
    assert [x != y for x, y in zip(total[a], total[b], strict=True)] == [
        i in (3, 4, 5) for i in range(10)
    ]
    values = [e.value for e in space.objective().evaluate([a, b], 0)]
    assert values == [sum(map(int, total[g])) / (10 * 2**32) for g in (a, b)]


def test_equal_seeds_give_equal_landscapes_on_any_machine() -> None:
    assert NK().optimum == NK().optimum != NK(NK.Options(seed=1)).optimum
    contributions = NK(NK.Options(n=3, k=0))._tables.ravel() / 2.0**32
    # numpy, default_rng(0)
    documented = [
        0.63696169,
        0.26978671,
        0.04097352,
        0.01652764,
        0.81327024,
        0.91275558,
    ]
    assert contributions == pytest.approx(documented, abs=1e-8)


def test_contributions_are_uniform() -> None:
    tables = NK(NK.Options(n=100, k=6))._tables / 2.0**32
    assert tables.mean() == pytest.approx(0.5, abs=0.01)
    assert np.histogram(tables, bins=10, range=(0, 1))[0] == pytest.approx(
        np.full(10, tables.size / 10), rel=0.1
    )


def test_a_ring_of_ties() -> None:
    """Each gene pays 1 where it equals the next: free on an even ring, once on an odd one."""
    table = np.eye(2, dtype=np.int64)
    assert [ring_minimum(np.stack([table] * n)) for n in (2, 3, 8, 9)] == [0, 1, 0, 1]


@pytest.mark.parametrize(
    "wrong", [{"n": 0}, {"k": 64}, {"k": -1}, {"alleles": 1}, {"seed": -1}, {"k": 12}, {"n": 10**8}]
)
def test_bad_options(wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError):
        NK.Options(**wrong)
