from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone, is_regressor
from sklearn.utils.estimator_checks import check_estimator

from clso.screening.encoding import Encoder
from clso.screening.ranks import rank_correlation
from clso.surrogates.forest import forest
from clso.surrogates.gaussian_process import MedianGaussianProcess, gp
from clso.surrogates.linear import ridge

FACTORIES = [ridge, forest, gp]
N_GENES, N_CHOICES = 6, 12


def _sample(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Features and true values of an additive objective near 10.8 that a descriptor tells in
    full."""
    rng = np.random.default_rng(0)
    descriptors = [rng.normal(size=(N_CHOICES, 2)) * [1.0, 50.0] for _ in range(N_GENES)]
    weights = rng.normal(size=N_GENES)
    genomes = np.random.default_rng(seed).integers(0, N_CHOICES, (n, N_GENES))
    effects = [weights[g] * descriptors[g][genomes[:, g], 1] / 50 for g in range(N_GENES)]
    features = Encoder([N_CHOICES] * N_GENES, descriptors).encode(
        [tuple(g) for g in genomes.tolist()]
    )
    return features, 10.8 + 0.1 * np.sum(effects, axis=0)


@pytest.mark.parametrize(("factory", "least"), [(ridge, 0.95), (forest, 0.6), (gp, 0.95)])
def test_ranks_candidates_it_has_not_seen(factory: Callable[[int], Any], least: float) -> None:
    (x, y), (x_new, y_new) = _sample(120, 1), _sample(100, 2)
    predicted = factory(0).fit(x, y).predict(x_new)
    rho = rank_correlation(zip(predicted, y_new, strict=True))
    assert rho is not None
    assert rho > least


@pytest.mark.parametrize("factory", FACTORIES)
def test_same_seed_same_predictions_without_global_randomness(
    factory: Callable[[int], Any],
) -> None:
    x, y = _sample(60, 1)
    np.random.seed(1)
    first = factory(5).fit(x, y).predict(x)
    np.random.seed(2)
    np.testing.assert_array_equal(first, factory(5).fit(x, y).predict(x))


@pytest.mark.parametrize("factory", FACTORIES)
def test_is_an_unfitted_sklearn_regressor_with_its_random_state(
    factory: Callable[[int], Any],
) -> None:
    estimator = factory(3)
    assert is_regressor(estimator)
    assert estimator.get_params()["random_state"] == 3
    assert not [name for name in vars(estimator) if name.endswith("_")]
    assert clone(estimator).get_params() == estimator.get_params()


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.filterwarnings("error")
def test_constant_columns_and_constant_targets_are_harmless(factory: Callable[[int], Any]) -> None:
    x, y = _sample(40, 1)
    x = np.concatenate([x, np.zeros((40, 2), np.float32), np.ones((40, 2), np.float32)], axis=1)
    assert np.isfinite(factory(0).fit(x, y).predict(x)).all()
    np.testing.assert_allclose(factory(0).fit(x, np.full(40, 10.8)).predict(x), 10.8, rtol=1e-3)


def test_gaussian_process_keeps_the_last_rows_only() -> None:
    x, y = _sample(90, 1)
    capped = MedianGaussianProcess(max_points=50).fit(x, y)
    assert capped.rows_.shape[0] == 50
    np.testing.assert_array_equal(
        capped.predict(x), MedianGaussianProcess(50).fit(x[-50:], y[-50:]).predict(x)
    )


@pytest.mark.filterwarnings("ignore")
def test_gaussian_process_solves_the_system_of_its_whole_kernel() -> None:
    rng = np.random.default_rng(5)
    X, y = rng.random((150, 7)), rng.random(150)
    fitted = MedianGaussianProcess(random_state=0).fit(X, y)
    squared = ((fitted.rows_[:, None] - fitted.rows_) ** 2).sum(axis=-1)
    kernel = np.exp(-fitted.gamma_ * squared) + fitted.noise * np.eye(150)
    scores = fitted.scores_[fitted.targets_.searchsorted(y)]
    np.testing.assert_allclose(kernel @ fitted.weights_, scores, atol=1e-8)


def test_gaussian_process_passes_sklearns_own_checks() -> None:
    check_estimator(gp(0))
