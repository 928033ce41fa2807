"""When a surrogate is trusted, and when it is switched off: the rules at their bounds."""

from __future__ import annotations

import json
import math

import pytest

from clso.screening.ranks import rank_correlation
from clso.screening.trust import Trust

Pairs = list[tuple[float, float]]

GOOD = [0, 1, 2, 3, 4, 5, 7, 6]  # rho = 0.98
# rho = 0.52: enough to be used, and too little to be believed of 8 audits
WEAK = [
    4,
    0,
    1,
    3,
    7,
    2,
    6,
    5,
]
BAD = [7, 6, 5, 4, 3, 2, 1, 0]
SIGNIFICANT = 1.645  # one-sided 5 %


def pairs(true: list[int]) -> Pairs:
    """Predictions 0, 1, 2, ... of those values."""
    return [(float(p), float(t)) for p, t in enumerate(true)]


def trust(window: int = 16) -> Trust:
    return Trust(threshold=0.2, window=window, min_audits=8)


def audit(one: Trust, batch: Pairs) -> None:
    one.audit(rows(batch), [True] * len(batch))


def rows(batch: Pairs) -> list[tuple[tuple[float, ...], tuple[float, ...]]]:
    """Candidates of one value each."""
    return [((predicted,), (true,)) for predicted, true in batch]


def test_what_chance_gives_too_often_earns_no_trust() -> None:
    rho = rank_correlation(pairs(WEAK))
    assert rho is not None
    assert 0.2 < rho < SIGNIFICANT / math.sqrt(len(WEAK) - 1)
    one = trust()
    audit(one, pairs(WEAK))
    assert one.correlation == pytest.approx(rho)
    assert not one.in_force
    assert not one.is_off  # it has another chance
    audit(one, pairs(WEAK))
    assert one.in_force  # as much of 16 audits is no chance any more


@pytest.mark.parametrize(
    ("true", "is_enough"), [([0, 1, 2, 5, 6, 7, 4, 3], False), ([0, 1, 2, 5, 6, 7, 3, 4], True)]
)
def test_the_bound_of_significance(true: list[int], is_enough: bool) -> None:
    """rho = 0.619 and 0.643: 1.645 / sqrt(7) = 0.622 lies between."""
    one = trust()
    audit(one, pairs(true))
    assert one.in_force is is_enough


def test_the_threshold_itself_is_enough_to_become_and_to_stay_trusted() -> None:
    rho = rank_correlation(pairs(GOOD))
    assert rho is not None
    one = Trust(threshold=rho, window=8, min_audits=8)
    for _ in range(2):
        audit(one, pairs(GOOD))
        assert one.in_force


def test_trust_takes_the_least_number_of_audits() -> None:
    one = trust()
    audit(one, pairs(GOOD)[:7])
    assert not one.in_force
    audit(one, pairs(GOOD)[7:])
    assert one.in_force


def test_a_correlation_below_the_threshold_earns_no_trust_however_many_audits() -> None:
    one = Trust(threshold=0.9, window=64, min_audits=8)
    for _ in range(8):
        audit(one, pairs(WEAK))
    assert not one.in_force


def test_two_windows_without_trust_are_enough() -> None:
    one = trust(window=16)
    for n in (8, 16, 24):
        audit(one, pairs(BAD))
        assert (one.n_audits, one.is_off) == (n, False)
    audit(one, pairs(BAD))
    assert one.is_off
    assert "never trusted" in str(one.off_reason)
    assert "on the last 16 of 32 audits" in str(one.off_reason)


def test_once_trusted_the_threshold_alone_decides_on_the_last_window() -> None:
    one = trust(window=8)
    audit(one, pairs(GOOD))
    assert one.in_force
    audit(one, pairs(WEAK))
    assert one.in_force  # though it would not have become so
    audit(one, pairs(BAD))
    assert not one.in_force
    assert "rank correlation -1.000 on the last 8 audits, below 0.2" in str(one.off_reason)


def test_only_audits_count_and_their_batchs_medians_are_of_all() -> None:
    one = trust()
    one.audit(rows(pairs(GOOD)), [i % 2 == 0 for i in range(8)])
    assert one.n_audits == 4
    # A batch 100 nats below, predicted 1000 above: its rank inside the batch is what counts.
    one.audit(rows([(p + 1000, t - 100) for p, t in pairs(BAD)]), [True] * 8)
    centred = [(p - 3.5, t - 3.5) for p, t in [*pairs(GOOD)[::2], *pairs(BAD)]]
    assert one.correlation == pytest.approx(rank_correlation(centred))


def test_of_several_values_the_one_that_is_ranked_worst_counts() -> None:
    def both(first: list[int], second: list[int]) -> Trust:
        one = Trust(threshold=0.2, window=8, min_audits=8, n_values=2)
        a, b = rows(pairs(first)), rows(pairs(second))
        batch = [((*p, *q), (*t, *u)) for (p, t), (q, u) in zip(a, b, strict=True)]
        one.audit(batch, [True] * 8)
        return one

    assert both(GOOD, GOOD).in_force
    one = both(GOOD, BAD)
    assert one.correlation == pytest.approx(-1)
    assert not one.in_force
    assert not both(BAD, GOOD).in_force
    assert both(GOOD, [3] * 8).correlation is None  # equal values tell nothing
    again = Trust(threshold=0.2, window=8, min_audits=8, n_values=2)
    again.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert again.state_dict() == one.state_dict()
    assert again.correlation == one.correlation


def test_a_state_continues() -> None:
    one, again = trust(), trust()
    audit(one, pairs(WEAK))
    again.load_state_dict(json.loads(json.dumps(one.state_dict())))
    assert again.correlation == one.correlation
    for each in (one, again):
        audit(each, pairs(WEAK))
    assert again.in_force
    assert again.state_dict() == one.state_dict()
