"""Gaussian process with a fixed kernel: sees how genes act together, which a ridge cannot, in
milliseconds."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.linalg import LinAlgError
from scipy.linalg.lapack import get_lapack_funcs
from scipy.special import ndtri
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.utils.validation import check_is_fitted, check_X_y, validate_data

__all__ = ["MedianGaussianProcess", "gp"]

_TIE_SLOPE = 1e-6
_BLOCK = 64  # rows of a symmetric matrix that are worked on at a time
_PROBE = 64  # rows whose distances the kernel's scale is read from


class MedianGaussianProcess(RegressorMixin, BaseEstimator):  # type: ignore[misc]  # sklearn has no types
    """Posterior mean of a Gaussian process (Rasmussen & Williams 2006, algorithm 2.1) on the last
    `max_points` rows.

    The RBF kernel's scale follows the median distance of the rows (Gretton et al. 2012's
    heuristic), and the noise is fixed, so that a fit is one Cholesky factorisation: a likelihood
    optimiser takes a hundred times as long and ranks no better. Rows come in order of observation,
    and the last ones are nearest to what an evolving population proposes next.

    Targets become normal scores by their ranks (van der Waerden), so that a few disastrous rows, or
    a loss that flattens out near its best, do not take the fit for themselves; `predict` maps back
    through the targets seen. Columns that tell much of the scores by themselves weigh more in the
    distance (a rough automatic relevance determination, without an optimiser).

    Float32 features are worked on in float32: the noise on the diagonal keeps the system well
    within its precision.

    Attributes:
        rows_, weights_: the rows in use (m, p), scaled, and their weights (m,).
        centre_, scale_: what is subtracted from each column, and what it is multiplied with then
        (p,).
        gamma_: the kernel's exponent.
        scores_, targets_: normal scores (m,) and the targets that they stand for, ascending.
    """

    def __init__(
        self,
        max_points: int = 384,
        noise: float = 0.05,
        width: float = 1.0,
        random_state: int | None = None,
    ) -> None:
        """`noise` is the noise's variance against the process's; gamma is `width` over the median
        squared distance, which is taken over rows drawn by `random_state`."""
        self.max_points = max_points
        self.noise = noise
        self.width = width
        self.random_state = random_state

    def fit(self, X: npt.ArrayLike, y: npt.ArrayLike) -> MedianGaussianProcess:
        """Fit on rows of `X`, shape (n, p), and `y`, shape (n,)."""
        features: Any = X
        targets: Any = y
        if not (
            _is_plain(X)
            and isinstance(y, np.ndarray)
            and y.shape == (len(features),)
            and np.isfinite(y).all()
        ):
            features, targets = check_X_y(X, y, y_numeric=True, dtype=[np.float64, np.float32])
        self.n_features_in_ = features.shape[1]
        rows, targets = features[-self.max_points :], targets[-self.max_points :]
        self.targets_ = np.sort(targets).astype(np.float64)
        scores = _normal_scores(self.targets_)
        self.scores_ = scores
        z = scores[self.targets_.searchsorted(targets)].astype(rows.dtype)
        self.centre_ = rows.mean(axis=0)  # small numbers lose less in |a|^2 + |b|^2 - 2ab
        rows = rows - self.centre_
        told = np.abs(z @ rows) / np.sqrt(np.einsum("ij,ij->j", rows, rows) + 1)
        self.scale_ = np.sqrt(1 + told / (np.sqrt(np.mean(told**2)) or 1))
        self.rows_ = rows * self.scale_
        self._norms = np.einsum("ij,ij->i", self.rows_, self.rows_)
        kernel = self._distances(self.rows_)
        median = self._median(kernel)
        self.gamma_ = self.width / median if median > 0 else 1.0
        for first in range(0, len(kernel), _BLOCK):  # below the diagonal nothing is read
            self._to_kernel(kernel[first : first + _BLOCK, first:])
        kernel.flat[:: len(kernel) + 1] = 1 + self.noise
        # The transpose of a symmetric matrix is the layout that LAPACK can work on in place.
        factorise, solve = _lapack(kernel.dtype.char)
        factor, failed = factorise(kernel.T, lower=True, overwrite_a=True, clean=False)
        if failed:
            raise LinAlgError(f"the kernel's minor {failed} is not positive")
        self.weights_, _ = solve(factor, z, lower=True)
        return self

    def predict(self, X: npt.ArrayLike) -> Any:
        """Posterior means of the rows of `X`, shape (n,), on the scale of the targets."""
        features: Any = X
        if not (_is_plain(X) and features.shape[1] == getattr(self, "n_features_in_", -1)):
            check_is_fitted(self)
            features = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        kernel = self._distances((features - self.centre_) * self.scale_)
        self._to_kernel(kernel)
        z = (kernel @ self.weights_).astype(np.float64)
        # Beyond the best and the worst target seen, and among equal ones, the order of the scores
        # is kept.
        spread = float(self.targets_[-1] - self.targets_[0])
        outside = z - np.clip(z, self.scores_[0], self.scores_[-1])
        return np.interp(z, self.scores_, self.targets_) + spread * (outside + _TIE_SLOPE * z)

    def _median(self, distances: Any) -> float:
        """Of the distances (m, m) between some rows; 0 if there is one row."""
        probe = np.random.default_rng(self.random_state).permutation(len(distances))[:_PROBE]
        if len(probe) < 2:
            return 0.0
        found = distances[probe[:, None], probe][_above_diagonal(len(probe))]
        middle = (len(found) - 1) // 2, len(found) // 2
        found.partition(middle)  # as np.median does, which takes as long as the rest of a small fit
        return float(found[middle[0]] + found[middle[1]]) / 2

    def _distances(self, features: Any) -> Any:
        """Squared Euclidean distances of centred `features`, shape (n, p), to the rows in use, (n,
        m)."""
        distances = features @ self.rows_.T
        distances *= -2
        distances += np.einsum("ij,ij->i", features, features)[:, None]
        distances += self._norms
        return distances

    def _to_kernel(self, distances: Any) -> None:
        """exp(-gamma d), in place."""
        distances *= -self.gamma_
        np.minimum(distances, 0, out=distances)  # rounding can leave -1e-7 of a distance
        np.exp(distances, out=distances)


@cache
def _above_diagonal(n: int) -> Any:
    return np.triu(np.ones((n, n), dtype=np.bool_), 1)


@cache
def _lapack(kind: str) -> Any:
    """Cholesky's factorisation and solution. `scipy.linalg.cho_factor` and `cho_solve` call them
    with checks that take longer than the work."""
    return get_lapack_funcs(("potrf", "potrs"), dtype=kind)


def _normal_scores(ordered: npt.NDArray[np.float64]) -> Any:
    """Normal quantiles of the ranks of ascending values, shape (n,); equal ones share their mean
    rank."""
    below, not_above = ordered.searchsorted(ordered), ordered.searchsorted(ordered, side="right")
    return ndtri((below + not_above) / (2 * len(ordered)))


def _is_plain(X: Any) -> bool:
    """Whether `X` is what `clso.screening.encoding.Encoder` gives, for which scikit-learn's checks
    take longer than the work."""
    return (
        type(X) is np.ndarray
        and X.dtype == np.float32
        and X.ndim == 2
        and X.size > 0
        and bool(np.isfinite(X.sum()))  # any NaN or infinity shows in the sum
    )


def gp(random_state: int) -> Any:
    """An unfitted `MedianGaussianProcess` with default settings."""
    return MedianGaussianProcess(random_state=random_state)
