"""Settings of screening: what cannot be is refused, and both ways of searching state theirs."""

from __future__ import annotations

from typing import Any

import pytest

from clso.errors import ConfigError
from clso.screening.config import GENERATIONAL, ScreeningConfig


@pytest.mark.parametrize(
    "settings",
    [
        {"pool": 0},
        {"batch": 0},
        {"min_observations": 1},
        {"min_audits": 2},
        {"min_audits": 65},
        {"refit_every": 0},
        {"trust_threshold": 2.0},
        {"trust_threshold": float("nan")},
        {"pool": 2.5},
    ],
)
def test_what_cannot_be_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError):
        ScreeningConfig(**settings)


def test_a_run_measures_a_larger_share_than_an_optimizer() -> None:
    assert GENERATIONAL.evaluate_share == 1 / 5
    assert ScreeningConfig().evaluate_share == 1 / 20
