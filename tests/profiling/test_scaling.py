from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import linregress

from clso.profiling.measure import Row
from clso.profiling.scaling import fit, fit_all


def test_powers_are_found_exactly() -> None:
    lengths = [1024, 2048, 4096, 32768]
    for power in (0.0, 0.5, 1.0, 2.0):
        exponent, error = fit(lengths, [3.7 * n**power for n in lengths])
        assert exponent == pytest.approx(power, abs=1e-12)
        assert error == pytest.approx(0, abs=1e-12)


def test_slope_and_error_are_those_of_ordinary_regression() -> None:
    rng = np.random.default_rng(0)
    lengths = np.array([16, 32, 64, 128, 256])
    values = lengths**1.3 * np.exp(rng.normal(0, 0.2, 5))
    expected = linregress(np.log(lengths), np.log(values))
    assert fit(lengths.tolist(), values.tolist()) == pytest.approx(
        (expected.slope, expected.stderr)
    )


def test_too_few_lengths_have_a_reason() -> None:
    rows = [
        Row("a", 16, 1, peak_bytes=10),
        Row("b", 16, 1, peak_bytes=10),
        Row("b", 64, 1, peak_bytes=40),
    ]
    found = {(e.model, e.quantity): e for e in fit_all(rows)}
    assert found["a", "peak_bytes"].exponent is None
    assert "two lengths" in str(found["a", "peak_bytes"].reason)
    assert found["b", "peak_bytes"].exponent == pytest.approx(1)
    assert found["b", "peak_bytes"].standard_error is None
    assert found["b", "peak_bytes"].lengths == (16, 64)
    assert found["b", "forward_time_s"].exponent is None
