"""Gaussian process with a noise term: ranks additive objectives as well as ridge does, and is slower."""

from __future__ import annotations

import warnings
from typing import Any

import numpy.typing as npt
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.exceptions import ConvergenceWarning
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y

__all__ = ["RecentGaussianProcess", "gp"]


class RecentGaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Gaussian process regression on the last `max_points` rows.

    A fit costs O(max_points^3) for each step of the likelihood's optimiser. Rows come in order of
    observation, and the last ones are the nearest to what an evolving population proposes next.

    Attributes:
        process_: the fitted `GaussianProcessRegressor` (RBF kernel with one length scale, white noise,
        scaled targets).
    """

    def __init__(self, max_points: int = 200, random_state: int | None = None) -> None:
        self.max_points = max_points
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> RecentGaussianProcess:
        """Fit on rows of `X`, shape (n, p), and `y`, shape (n,)."""
        features, targets = check_X_y(X, y, y_numeric=True)
        self.n_features_in_ = features.shape[1]
        # a length scale near the typical distance of two random genomes; the likelihood moves it from there
        kernel = ConstantKernel() * RBF(5.0, (0.1, 1e4)) + WhiteKernel(0.1, (1e-6, 1e2))
        process = GaussianProcessRegressor(kernel, normalize_y=True, random_state=self.random_state)
        with warnings.catch_warnings():
            # a scale at its bound is an answer here, not a fault: only the ranking is used, and it is audited
            warnings.simplefilter("ignore", ConvergenceWarning)
            self.process_ = process.fit(features[-self.max_points :], targets[-self.max_points :])
        return self

    def predict(self, X: npt.ArrayLike) -> Any:
        """Posterior means of the rows of `X`, shape (n,)."""
        check_is_fitted(self)
        return self.process_.predict(check_array(X))


def gp(random_state: int) -> Any:
    """An unfitted `RecentGaussianProcess` on at most 200 rows."""
    return RecentGaussianProcess(max_points=200, random_state=random_state)
