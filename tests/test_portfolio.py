from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from clso.portfolio import AUDIT, BEST, GOOD, Portfolio

VALUES = [float(i) for i in range(60)]


def shares(portfolio: Portfolio, n: int = 12) -> list[float]:
    counts = Counter(way for _ in range(200) for way in portfolio.choose(VALUES, n).values())
    return [counts[way] / (200 * n) for way in (BEST, GOOD, AUDIT)]


def test_each_way_picks_where_it_says() -> None:
    portfolio = Portfolio(np.random.default_rng(0))
    for _ in range(50):
        ways = portfolio.choose(VALUES, 12)
        assert list(ways) == sorted(ways)
        assert len(ways) == 12
        best = [i for i, way in ways.items() if way == BEST]
        assert best == list(range(len(best)))
        assert all(i < 30 for i, way in ways.items() if way == GOOD)
        assert AUDIT in ways.values()
    assert shares(portfolio) == pytest.approx([1 / 3] * 3, abs=0.02)


@pytest.mark.parametrize("winner", [BEST, GOOD, AUDIT])
def test_what_pays_is_used_and_nothing_is_given_up(winner: int) -> None:
    portfolio = Portfolio(np.random.default_rng(0))
    for _ in range(20):
        portfolio.credit([(way, way == winner) for way in (BEST, GOOD, AUDIT) for _ in range(3)])
    after = shares(portfolio)
    assert after[winner] > 0.65
    assert min(after) > 0.05


@pytest.mark.parametrize("n", [1, 2, 3, 59])
def test_small_and_large_choices(n: int) -> None:
    ways = Portfolio(np.random.default_rng(1)).choose(VALUES, n)
    assert len(ways) == n
    assert AUDIT in ways.values()
