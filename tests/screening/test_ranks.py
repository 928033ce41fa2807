from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr

from clso.screening.ranks import rank_correlation


@pytest.mark.parametrize("n_values", [3, 10, 1000])  # few values: many ties
def test_equals_scipys_spearman(n_values: int) -> None:
    rng = np.random.default_rng(n_values)
    pairs = rng.integers(0, n_values, (50, 2)).astype(float)
    assert rank_correlation(map(tuple, pairs)) == pytest.approx(
        spearmanr(pairs).statistic, abs=1e-12
    )


def test_what_has_no_ranks() -> None:
    assert rank_correlation([]) is None
    assert rank_correlation([(1.0, 2.0), (2.0, 3.0)]) is None
    assert rank_correlation([(1.0, 5.0), (2.0, 5.0), (3.0, 5.0)]) is None  # nothing to rank
    assert rank_correlation([(1.65, 1.0), (1.65, 2.0), (1.65, 3.0)]) == 0.0  # nothing ranked
