"""A surrogate estimator and the measured candidates that it learns from. Lower values are
better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clso.conversion import random_state
from clso.screening.encoding import Encoder
from clso.screening.order import CODES
from clso.screening.packing import pack_rows, unpack_rows
from clso.space import Genome

__all__ = ["Estimator", "Learner"]

Floats = npt.NDArray[np.float64]

_MAX_FIT_ROWS = 512  # the latest observations; bounds the time of a fit in long runs


class Estimator(Protocol):
    """The two methods of a scikit-learn regressor that screening calls."""

    def fit(self, X: npt.NDArray[np.float32], y: Floats) -> Any: ...
    def predict(self, X: npt.NDArray[np.float32]) -> Any: ...


class Learner:
    """Fits an estimator anew at every `refit_every`-th prediction, on the latest rows. What it
    raises goes through."""

    def __init__(
        self,
        make_estimator: Callable[[int], Estimator],
        encoder: Encoder,
        *,
        seed: int,
        refit_every: int,
    ) -> None:
        self._make_estimator, self._encoder, self._random_state = (
            make_estimator,
            encoder,
            random_state(seed),
        )
        self._refit_every = refit_every
        self._estimator: Estimator | None = None
        # the rows of the last fit, then those learnt since
        self._rows: list[tuple[Genome, float]] = []
        self._features = encoder.encode([])  # of the first rows; those of the last fit
        self._codes = [0] * len(encoder.n_choices)  # of the genes' alleles
        self._n_learnt, self._n_judged = 0, 0  # rows in all, and when the codes were chosen last
        self._n_fit = 0  # how many of `_rows` the last fit used
        self._since_fit = 0  # predictions since

    def learn(self, rows: Sequence[tuple[Genome, float]]) -> None:
        """Take in measured genomes for later fits."""
        self._rows.extend(rows)
        self._n_learnt += len(rows)

    def knows(self, n: int) -> bool:
        """Whether it was fitted, or `n` rows are there for a first fit."""
        return self._n_fit > 0 or len(self._rows) >= n

    def refit(self) -> None:
        """Fit now what the next prediction would fit, if one is due."""
        if self._estimator is not None and self._due(self._since_fit + 1):
            self._take_rows()
            self._since_fit = -1  # the next prediction is the first with this fit

    def predict(self, genomes: Sequence[Genome]) -> Floats:
        """What the estimator says of them, fitting first when that is due."""
        self._since_fit += 1
        if self._n_fit == 0 or self._due(self._since_fit):
            self._take_rows()
        elif self._estimator is None:  # after a resume: the fit in force is made again
            self._fit()
        assert self._estimator is not None
        return np.asarray(self._estimator.predict(self._encode(genomes)), dtype=np.float64)

    def forget(self) -> None:
        """Drop everything."""
        self._estimator, self._rows, self._n_fit = None, [], 0
        self._features = self._features[:0]

    def _due(self, n_predictions: int) -> bool:
        """Whether a fit is due at the `n_predictions`-th prediction since the last."""
        return n_predictions >= self._refit_every and len(self._rows) > self._n_fit

    def _take_rows(self) -> None:
        """Fit on the latest rows."""
        n_old = max(0, len(self._rows) - _MAX_FIT_ROWS)
        self._rows, self._features = self._rows[n_old:], self._features[n_old:]
        self._n_fit, self._since_fit = len(self._rows), 0
        if self._encoder.ordered and self._n_learnt >= 2 * self._n_judged:
            self._choose_codes()
        self._fit()

    def _choose_codes(self) -> None:
        """Decide anew, gene by gene, whether the order of its alleles is used: whenever twice as
        much is known."""
        genomes, values = zip(*self._rows, strict=True)
        turn = self._n_judged.bit_length()
        codes = self._encoder.choose_codes(genomes, values, self._codes, turn)
        self._n_judged = self._n_learnt
        if codes != self._codes:
            self._codes, self._features = codes, self._features[:0]

    def _encode(self, genomes: Sequence[Genome]) -> npt.NDArray[np.float32]:
        return self._encoder.encode(genomes, self._codes)

    def _fit(self) -> None:
        rows = self._rows[: self._n_fit]
        new = self._encode([genome for genome, _ in rows[len(self._features) :]])
        self._features = np.concatenate([self._features, new])
        self._estimator = self._make_estimator(self._random_state)
        self._estimator.fit(self._features, _winsorised([v for _, v in rows]))

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """In JSON types. Without the rows it is small; then give `load_state_dict` all that was
        learnt, in its order."""
        rows = pack_rows(self._rows) if with_rows else len(self._rows)
        return {
            "rows": rows,
            "n_fit": self._n_fit,
            "since_fit": self._since_fit,
            "codes": [[gene, n] for gene, n in enumerate(self._codes) if n],
            "n_learnt": self._n_learnt,
            "n_judged": self._n_judged,
        }

    def load_state_dict(
        self, state: dict[str, Any], learnt: Sequence[tuple[Genome, float]] | None = None
    ) -> None:
        """Raises KeyError, IndexError, TypeError, ValueError or `GenomeError` for a damaged state. The fit in
        force is made again."""
        if learnt is None:
            self._rows = unpack_rows(state["rows"], len(self._encoder.n_choices))
        else:  # the last of them
            self._rows = list(learnt[len(learnt) - int(state["rows"]) :])
            if len(self._rows) != state["rows"]:
                raise ValueError(
                    f"{state['rows']} observed rows are needed, there are {len(learnt)}"
                )
        self._encoder.encode([genome for genome, _ in self._rows])
        self._n_fit, self._since_fit = int(state["n_fit"]), int(state["since_fit"])
        self._n_learnt, self._n_judged = int(state["n_learnt"]), int(state["n_judged"])
        self._codes = [0] * len(self._encoder.n_choices)
        for gene, number in state["codes"]:
            self._codes[gene] = min(int(number), CODES - 1)
        self._estimator, self._features = None, self._features[:0]


def _winsorised(values: Sequence[float]) -> Floats:
    """Values with the worst cut off as far above the median as the best lies below it.

    Screening has to tell good from better; a few disastrous candidates must not take the fit for
    themselves."""
    v = np.array(values, dtype=np.float64)
    median = np.median(v)
    cut: Floats = np.minimum(v, median + (median - v.min()) + 1e-12)
    return cut
