"""Random forest: finds interactions between genes, needs more observations than ridge."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import RandomForestRegressor

__all__ = ["forest"]


def forest(random_state: int) -> Any:
    """An unfitted `sklearn.ensemble.RandomForestRegressor` of 64 trees on one thread.

    A third of the features a split (Breiman's advice for regression) decorrelates the trees and
    bounds the time of a fit."""
    return RandomForestRegressor(
        n_estimators=64, max_features=1 / 3, min_samples_leaf=2, n_jobs=1, random_state=random_state
    )
