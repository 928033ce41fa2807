"""Statistics against closed forms and other implementations."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import wilcoxon

from clso.prove.statistics import cliffs_delta, compare_pairs, describe, hedges_g, holm


def test_a_description_holds_the_mean_within_its_interval() -> None:
    values = np.random.default_rng(0).normal(3.0, 2.0, size=400)
    found = describe(values.tolist())
    assert found["n"] == 400
    assert found["std"] == pytest.approx(np.std(values, ddof=1))
    # the percentile interval of a mean is the normal one, for so many
    half = 1.96 * found["std"] / 20
    assert found["low"] == pytest.approx(found["mean"] - half, abs=0.03)
    assert found["high"] == pytest.approx(found["mean"] + half, abs=0.03)
    assert describe([2.0]) == {"n": 1, "mean": 2.0, "std": 0.0, "low": 2.0, "high": 2.0}


def test_effect_sizes_of_what_is_known() -> None:
    assert cliffs_delta([3, 4], [1, 2]) == 1.0
    assert cliffs_delta([1, 4], [2, 3]) == 0.0
    assert cliffs_delta([1, 1], [1, 1]) == 0.0
    pairs = [(a > b) - (a < b) for a in (1, 5, 2) for b in (2, 2, 4, 0)]
    assert cliffs_delta([1, 5, 2], [2, 2, 4, 0]) == pytest.approx(np.mean(pairs))
    assert hedges_g([1.0, 1.0], [1.0, 1.0]) is None
    assert hedges_g([1.0], [2.0]) is None
    one, other = np.array([1.0, 2.0, 3.0]), np.array([2.0, 4.0, 6.0])
    pooled = np.sqrt((one.var(ddof=1) + other.var(ddof=1)) / 2)
    assert hedges_g(one.tolist(), other.tolist()) == pytest.approx(-2 / pooled * (1 - 3 / 15))


def test_p_values_are_corrected_step_down() -> None:
    assert holm([0.04, 0.01, 0.03]) == pytest.approx([0.06, 0.03, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_pairs_are_compared_by_their_differences() -> None:
    rng = np.random.default_rng(1)
    base = rng.normal(size=60)
    own, other = base + 0.5, base + 0.1 * rng.normal(size=60)
    found = compare_pairs(own.tolist(), other.tolist())
    assert found["difference"] == pytest.approx((own - other).mean())
    assert found["low"] > 0.4  # type: ignore[operator]
    assert found["p"] == pytest.approx(wilcoxon(own, other).pvalue)
    same = compare_pairs([1.0, 2.0], [1.0, 2.0])
    assert (same["difference"], same["p"]) == (0.0, 1.0)
