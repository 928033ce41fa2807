from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

from clso.screening.allocation import AUDIT, BEST, GOOD, Allocation

STRATEGIES = (BEST, GOOD, AUDIT)
# candidates, best prediction first
ORDER: list[int] = np.random.default_rng(5).permutation(60).tolist()
RANK = {candidate: rank for rank, candidate in enumerate(ORDER)}


def allocation() -> Allocation:
    return Allocation(np.random.default_rng(0))


def shares(one: Allocation, n: int = 12) -> list[float]:
    counts = Counter(strategy for _ in range(200) for strategy in one.choose(ORDER, n).values())
    return [counts[strategy] / (200 * n) for strategy in STRATEGIES]


def credit(one: Allocation, winner: int | None, n_batches: int) -> None:
    """Batches of three candidates a strategy, of which those of `winner` win."""
    for _ in range(n_batches):
        one.credit([(strategy, strategy == winner) for strategy in STRATEGIES for _ in range(3)])


def test_each_way_picks_where_it_says() -> None:
    one = allocation()
    good_ranks: set[int] = set()
    audit_ranks: set[int] = set()
    for _ in range(200):
        strategies = one.choose(ORDER, 12)
        assert list(strategies) == sorted(strategies)
        assert len(strategies) == 12
        n_best = list(strategies.values()).count(BEST)
        assert {RANK[i] for i, strategy in strategies.items() if strategy == BEST} == set(
            range(n_best)
        )
        good = {RANK[i] - n_best for i, strategy in strategies.items() if strategy == GOOD}
        assert all(0 <= rank < 20 for rank in good)  # the better third of what is left
        good_ranks |= good
        audited = {RANK[i] for i, strategy in strategies.items() if strategy == AUDIT}
        assert audited
        audit_ranks |= audited
    assert good_ranks == set(range(20))
    assert set(range(8, 60)) <= audit_ranks
    assert shares(one) == pytest.approx([1 / 3] * 3, abs=0.02)


def test_a_greedy_one_draws_nothing_but_its_audits() -> None:
    one = Allocation(np.random.default_rng(0), greedy=True)
    credit(one, AUDIT, 20)
    assert shares(one) == pytest.approx([11 / 12, 0, 1 / 12])
    assert [i for i, strategy in one.choose(ORDER, 8).items() if strategy == BEST] == sorted(
        ORDER[:7]
    )


@pytest.mark.parametrize("winner", STRATEGIES)
def test_what_pays_is_used_and_nothing_is_given_up(winner: int) -> None:
    one = allocation()
    credit(one, winner, 20)
    after = shares(one)
    assert after[winner] > 0.65
    assert 0.08 < min(after) < 0.13
    assert all(len(one.choose(ORDER, n)) == n for n in range(1, 60))


def test_a_batch_without_a_win_is_not_the_whole_past() -> None:
    one = allocation()
    credit(one, BEST, 20)
    credit(one, None, 1)
    assert shares(one)[BEST] > 0.65


def test_what_paid_long_ago_is_forgotten() -> None:
    one = allocation()
    credit(one, BEST, 300)
    credit(one, AUDIT, 100)
    best, _, audit = shares(one)
    assert audit > best + 0.2


def test_shares_are_wins_per_try_after_half_a_win_in_eight_tries() -> None:
    """So that the first candidate that wins does not take it all."""
    one = allocation()
    one.credit([(BEST, i < 8) for i in range(40)] + [(AUDIT, i < 1) for i in range(8)])
    rates = [8.5 / 48, 0.5 / 8, 1.5 / 16]
    assert shares(one) == pytest.approx([rate / sum(rates) for rate in rates], abs=0.02)


@pytest.mark.parametrize("n", [1, 2, 3, 59])
def test_small_and_large_choices(n: int) -> None:
    strategies = Allocation(np.random.default_rng(1)).choose(ORDER, n)
    assert len(strategies) == n
    assert AUDIT in strategies.values()


def test_a_state_continues() -> None:
    one, again = allocation(), allocation()
    credit(one, GOOD, 5)
    again.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert shares(again) == shares(one)
    for wins in ([0.0], [0.0] * 4):
        with pytest.raises(ValueError, match="three strategies"):
            again.load_state_dict({"wins": wins, "tries": [0.0] * 3})
