"""The surrogate's fits: when they are due, and that they may come early."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from clso.conversion import random_state
from clso.screening.encoding import Encoder
from clso.screening.learner import Learner

N_CHOICES = [5, 5]


class Mean:
    """Predicts the mean of what it was fitted on; `fits` has the number of rows of every fit of the
    test."""

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
        found.append(float(one.predict([(0, 0)])[0, 0]))
        if early:
            one.refit()
        one.learn([((i % 5, i // 5 % 5), (float(i),))])
    return found


def test_an_early_fit_takes_the_place_of_the_one_that_was_due_and_misses_the_batch_that_is_out() -> (
    None
):
    late: list[int] = []
    early: list[int] = []
    for fits, is_early in ((late, False), (early, True)):
        one = learner(fits)
        one.learn([((0, 0), (0.0,))])
        run(one, range(1, 11), early=is_early)
    assert late == [1, 4, 7, 10]
    assert early == [1, 3, 6, 9]


def test_a_resumed_learner_goes_on_as_if_nothing_had_been() -> None:
    for stop in range(2, 8):  # before, at and after an early fit
        whole, first = learner([]), learner([])
        for one in (whole, first):
            one.learn([((0, 0), (0.0,))])
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


def targets_of(values: Sequence[float]) -> list[float]:
    """What an estimator is fitted on after these values were learnt."""
    seen: list[list[float]] = []

    class Keeps(Mean):
        fits: list[int] = []  # noqa: RUF012

        def fit(self, X: Any, y: Any) -> Mean:
            seen.append(list(y))
            return super().fit(X, y)

    one = Learner(lambda _: Keeps(), Encoder(N_CHOICES), seed=0, refit_every=1)
    one.learn([((0, 0), (value,)) for value in values])
    one.predict([(0, 0)])
    return seen[-1]


def test_disastrous_values_are_cut_as_far_above_the_median_as_the_best_lies_below() -> None:
    assert targets_of([3.0, 1e9, 1.0, 2.0, 4.0, 6.0, 0.0]) == pytest.approx(
        [3, 6, 1, 2, 4, 6, 0], abs=1e-9
    )
    # the best is never cut
    assert targets_of([-5.0, 1.0, 2.0]) == pytest.approx([-5, 1, 2], abs=1e-9)
    assert targets_of([2.5, 2.5, 2.5]) == pytest.approx([2.5] * 3, abs=1e-9)


def test_a_fit_is_on_the_latest_rows() -> None:
    newest = [float(i) for i in range(1000)]
    assert targets_of(newest) == pytest.approx(newest[-512:])


def test_a_learner_knows_from_the_least_number_of_rows_on() -> None:
    one = learner([])
    one.learn([((0, 0), (1.0,))])
    assert not one.knows(2)
    one.learn([((0, 1), (2.0,))])
    assert one.knows(2)
    one.predict([(0, 0)])
    assert one.knows(3)  # what was fitted predicts
    one.forget()
    assert not one.knows(1)


def test_nothing_new_is_no_reason_to_fit_again() -> None:
    fits: list[int] = []
    one = learner(fits, refit_every=1)
    one.learn([((0, 0), (1.0,))])
    for _ in range(3):
        one.predict([(0, 0)])
        one.refit()
    assert fits == [1]


def test_each_value_has_an_estimator_of_its_own() -> None:
    fits: list[int] = []
    one = Learner(
        learner(fits)._make_estimator, Encoder(N_CHOICES), seed=0, refit_every=1, n_values=2
    )
    one.learn([((0, 0), (1.0, 10.0)), ((1, 1), (3.0, 30.0))])
    assert one.predict([(0, 0)] * 3).tolist() == [[2.0, 20.0]] * 3
    assert fits == [2, 2]


def test_a_state_without_rows_takes_the_last_of_all_that_was_learnt() -> None:
    rows = [((i % 5, i // 5 % 5), (float(i),)) for i in range(20)]
    one, fits = learner([]), list[int]()
    one.learn(rows[12:])
    expected = one.predict([(0, 0)])
    state = one.state_dict(with_rows=False)
    again = learner(fits)
    again.load_state_dict(state, rows)
    assert again.predict([(0, 0)]) == pytest.approx(expected)
    assert fits == [8]
    assert again.state_dict()["rows"] == one.state_dict()["rows"]
    with pytest.raises(ValueError, match="8 observed rows are needed, there are 7"):
        learner([]).load_state_dict(state, rows[:7])
