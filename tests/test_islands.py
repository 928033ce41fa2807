"""The benchmark of islands: what they measure follows from their seeds and from evaluations
counted."""

from __future__ import annotations

from benchmarks.islands import islands, search
from clso.search_spaces.nk import NK

SPACE = NK(NK.Options(n=12, k=2))


def test_an_epoch_begins_with_the_best_of_all_islands() -> None:
    found = islands(SPACE, 3, 4096, 4, 2)
    assert found == islands(SPACE, 3, 4096, 4, 2)
    assert len(found) == 4096
    first, second = found[:2048], found[2048:]
    best = min(e.value for e in first)
    for start in range(0, 2048, 512):  # with each one's best in turn
        assert min(e.value for e in second[start : start + 4]) == best


def test_one_island_is_one_search() -> None:
    assert islands(SPACE, 3, 1500, 1, 1) == search(SPACE, 3, 1500, 1024)
