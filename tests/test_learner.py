"""The surrogate's fits: when they are due, and that they may come early."""

from __future__ import annotations

from typing import Any

import numpy as np

from clso.encoding import Encoder
from clso.learner import Learner, random_state

N_CHOICES = [5, 5]


class Mean:
    """Predicts the mean of what it was fitted on; `fits` has the number of rows of every fit of the test."""

    fits: list[int]

    def fit(self, X: Any, y: Any) -> Mean:
        self.fits.append(len(y))
        self.mean = float(np.mean(y))
        return self

    def predict(self, X: Any) -> Any:
        return np.full(len(X), self.mean)


def learner(fits: list[int], refit_every: int = 3) -> Learner:
    def make(_: int) -> Mean:
        estimator = Mean()
        estimator.fits = fits
        return estimator

    return Learner(make, Encoder(N_CHOICES), seed=0, refit_every=refit_every)


def run(one: Learner, predictions: range, *, early: bool) -> list[float]:
    """Predict, fit early where asked, learn a row: as a generation does. What was predicted."""
    found = []
    for i in predictions:
        found.append(float(one.predict([(0, 0)])[0]))
        if early:
            one.refit()
        one.learn([((i % 5, i // 5 % 5), float(i))])
    return found


def test_an_early_fit_takes_the_place_of_the_one_that_was_due_and_misses_the_batch_that_is_out() -> None:
    late, early = [], []
    for fits, is_early in ((late, False), (early, True)):
        one = learner(fits)
        one.learn([((0, 0), 0.0)])
        run(one, range(1, 11), early=is_early)
    assert late == [1, 4, 7, 10]
    assert early == [1, 3, 6, 9]


def test_a_resumed_learner_goes_on_as_if_nothing_had_been() -> None:
    for stop in range(2, 8):  # before, at and after an early fit
        whole, first = learner([]), learner([])
        for one in (whole, first):
            one.learn([((0, 0), 0.0)])
        expected = run(whole, range(1, 12), early=True)
        found = run(first, range(1, stop), early=True)
        again = learner([])
        again.load_state_dict(first.state_dict())
        assert found + run(again, range(stop, 12), early=True) == expected


def test_a_random_state_is_one_that_scikit_learn_takes() -> None:
    assert random_state(0) == 0
    assert random_state(2**32 - 1) == 2**32 - 1
    large = [random_state(seed) for seed in (2**32, 2**32 + 1, 20261128204412, 2**63, 2**200)]
    assert len(set(large)) == len(large)
    assert all(0 <= state < 2**32 for state in large)
