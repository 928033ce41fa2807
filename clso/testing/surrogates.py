"""What every surrogate keeps to, as a pytest class to subclass."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from clso.screening.encoding import Encoder
from clso.testing.properties import for_all, random_states, untouched_randomness

__all__ = ["SurrogateConformance"]

Data = tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]


@st.composite
def _data(draw: st.DrawFn) -> Data:
    """Rows as screening makes them, (n, p) float32, from two rows on, with targets (n,) that genes
    decide in part."""
    n_choices = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    n, scale = draw(st.integers(2, 24)), draw(st.sampled_from([1e-3, 1.0, 1e3]))
    rng = np.random.default_rng(draw(random_states))
    descriptors = [rng.normal(size=(k, 2)) if draw(st.booleans()) else None for k in n_choices]
    genomes = rng.integers(0, n_choices, (n, len(n_choices)))
    features = Encoder(n_choices, descriptors).encode([tuple(g) for g in genomes.tolist()])
    return features, 5.0 + scale * (
        features @ rng.normal(size=features.shape[1]) + 0.1 * rng.normal(size=n)
    )


class SurrogateConformance:
    """Subclass as `class TestMySurrogate(SurrogateConformance)` and give `make_surrogate`; pytest
    runs the rest."""

    max_examples = 10
    """Examples a property."""

    def make_surrogate(self, random_state: int) -> Any:
        """What the plugin makes: a new, unfitted estimator."""
        raise NotImplementedError("a subclass of SurrogateConformance gives make_surrogate")

    def _for_all(self, check: Callable[..., None], *strategies: st.SearchStrategy[Any]) -> None:
        # smaller data say no more, and fits are slow
        for_all(self.max_examples, check, *strategies, shrink=False)

    def test_is_an_unfitted_estimator_that_can_be_cloned(self) -> None:
        # a second to import, which the tests of a space need not wait for
        from sklearn.base import (
            clone,
        )

        first = self.make_surrogate(3)
        assert first is not self.make_surrogate(3), "every call makes a new estimator"
        fitted = [name for name in vars(first) if name.endswith("_") and not name.startswith("_")]
        assert not fitted, "attributes that end in _ come from fit"
        copy = clone(first)
        assert copy.get_params().keys() == first.get_params().keys()
        assert repr(copy.get_params()) == repr(first.get_params())
        if "random_state" in first.get_params():
            assert first.get_params()["random_state"] == 3, (
                "the estimator has the random state that it was given"
            )

    def test_predicts_one_finite_number_a_row(self) -> None:
        def check(data: Data) -> None:
            x, y = data
            estimator = self.make_surrogate(0)
            before = x.tobytes(), y.tobytes()
            assert estimator.fit(x, y) is estimator, "fit returns the estimator"
            for rows in (x, x[:1]):
                predicted = np.asarray(estimator.predict(rows))
                assert predicted.shape == (len(rows),)
                assert np.isfinite(predicted).all()
            assert (x.tobytes(), y.tobytes()) == before, "fit changes its arguments"

        self._for_all(check, _data())

    def test_equal_random_states_give_equal_predictions(self) -> None:
        def check(data: Data, random_state: int) -> None:
            x, y = data
            first, second = self.make_surrogate(random_state), self.make_surrogate(random_state)
            with untouched_randomness():
                predicted = first.fit(x, y).predict(x)
            np.testing.assert_array_equal(second.fit(x, y).predict(x), predicted)
            np.testing.assert_array_equal(first.predict(x), predicted)

        self._for_all(check, _data(), st.integers(0, 2**31 - 1))

    def test_a_second_fit_forgets_the_first(self) -> None:
        def check(data: Data) -> None:
            x, y = data
            again = self.make_surrogate(0).fit(x, -y).fit(x, y)
            np.testing.assert_array_equal(
                again.predict(x), self.make_surrogate(0).fit(x, y).predict(x)
            )

        self._for_all(check, _data())

    def test_constant_targets(self) -> None:
        def check(data: Data, value: float) -> None:
            x, _ = data
            predicted = self.make_surrogate(0).fit(x, np.full(len(x), value)).predict(x)
            np.testing.assert_allclose(predicted, value, rtol=1e-3, atol=1e-9)

        self._for_all(check, _data(), st.sampled_from([-3.0, 0.0, 10.8, 1e6]))
