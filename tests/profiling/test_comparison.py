from __future__ import annotations

import math

import pytest
from scipy.stats import ttest_1samp

from clso.profiling.comparison import Measured, all_of, less, read, within
from clso.profiling.measure import Row


@pytest.mark.parametrize(
    ("value", "error", "answer"),
    [
        (2.0, 0.0, True),
        (2.4, 0.05, True),
        (2.4, 0.2, None),
        (2.6, 0.0, False),
        (2.6, 0.2, None),
        (2.6, 5.0, None),  # the interval holds the whole range
        (9.0, 1.0, False),
        (1.0, math.inf, None),
    ],
)
def test_within_a_quarter_of_two(value: float, error: float, answer: bool | None) -> None:
    assert within(Measured(value, error), 2, 0.25) is answer


def test_less() -> None:
    assert less(Measured(1), Measured(2)) is True
    assert less(Measured(2), Measured(2)) is False
    assert less(Measured(1, 0.3), Measured(2, 0.3)) is True
    assert less(Measured(1, 1.0), Measured(2, 0.3)) is None
    assert less(Measured(3, 0.1), Measured(2, 0.3)) is False
    assert less(Measured(1, math.inf), Measured(2)) is None


def test_the_interval_is_students() -> None:
    times = [1.0, 1.5, 1.1, 1.2]
    mean, std = sum(times) / 4, 0.21602468994692867
    found = read(
        Row("a", 16, 1, forward_time_s=mean, forward_time_std_s=std, n_repeats=4), "forward_time_s"
    )
    assert found is not None
    interval = ttest_1samp(times, 0).confidence_interval(0.95)
    assert (found.value - found.error, found.value + found.error) == pytest.approx(
        (interval.low, interval.high)
    )


def test_sums_and_ratios_carry_their_errors() -> None:
    total = Measured(3, 0.3) + Measured(1, 0.4)
    assert (total.value, total.error) == pytest.approx((4, 0.5))
    ratio = Measured(4, 0.4) / Measured(2, 0.2)
    assert (ratio.value, ratio.error) == pytest.approx((2, 2 * math.sqrt(0.02)))


def test_all_of() -> None:
    assert all_of([True, True]) is True
    assert all_of([True, None]) is None
    assert all_of([None, False]) is False
    assert all_of([]) is None
