"""Surrogate estimators, one for each value of a candidate, and the measured ones that they learn
from. Lower values are better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from clso.conversion import random_state
from clso.screening.awaited import Values
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
    """Fits an estimator a value anew at every `refit_every`-th prediction, on the latest rows. What
    one raises goes through."""

    def __init__(
        self,
        make_estimator: Callable[[int], Estimator],
        encoder: Encoder,
        *,
        seed: int,
        refit_every: int,
        n_values: int = 1,
    ) -> None:
        self._make_estimator, self._encoder, self._random_state = (
            make_estimator,
            encoder,
            random_state(seed),
        )
        self._refit_every, self._n_values = refit_every, n_values
        self._estimators: list[Estimator] = []  # empty: none is fitted
        # the rows of the last fit, then those learnt since
        self._rows: list[tuple[Genome, Values]] = []
        # of each value: the codes of the genes' alleles, and the features of the last fit's rows
        self._codes = [[0] * len(encoder.n_choices) for _ in range(n_values)]
        self._features = [encoder.encode([])] * n_values
        self._n_learnt, self._n_judged = 0, 0  # rows in all, and when the codes were chosen last
        self._n_fit = 0  # how many of `_rows` the last fit used
        self._since_fit = 0  # predictions since
        self._earlier: list[list[tuple[Genome, Values]]] = []  # of other runs, one list each

    def learn(self, rows: Sequence[tuple[Genome, Values]]) -> None:
        """Take in measured genomes for later fits."""
        self._rows.extend(rows)
        self._n_learnt += len(rows)

    def revise(self, genome: Genome, values: Values) -> None:
        """Put other values in the place of a genome's; the fit in force is made again with them."""
        self._rows = [(g, values if g == genome else row) for g, row in self._rows]
        self._estimators = []

    def begin_with(self, runs: Sequence[Sequence[tuple[Genome, Values]]]) -> None:
        """Take in what earlier runs measured, for fits until `forget_earlier`."""
        self._earlier = [_spread(rows, _MAX_FIT_ROWS // 2 // len(runs)) for rows in runs if rows]

    def forget_earlier(self) -> bool:
        """Learn from own rows alone from now on; False if that was so already."""
        had_some, self._earlier = bool(self._earlier), []
        if had_some:
            self._estimators, self._n_fit, self._since_fit = [], 0, 0
        return had_some

    @property
    def n_earlier(self) -> int:
        """Rows of earlier runs that it learns from."""
        return sum(map(len, self._earlier))

    def knows(self, n: int) -> bool:
        """Whether it was fitted, or `n` rows are there for a first fit."""
        return self._n_fit > 0 or self.n_earlier + len(self._rows) >= n

    def refit(self) -> None:
        """Fit now what the next prediction would fit, if one is due."""
        if self._estimators and self._due(self._since_fit + 1):
            self._take_rows()
            self._since_fit = -1  # the next prediction is the first with this fit

    def predict(self, genomes: Sequence[Genome]) -> Floats:
        """What the estimators say of them, shape (n, values), fitting first when that is due."""
        self._since_fit += 1
        if self._n_fit == 0 or self._due(self._since_fit):
            self._take_rows()
        elif not self._estimators:  # after a resume: the fit in force is made again
            self._fit()
        predicted = [
            np.asarray(estimator.predict(self._encoder.encode(genomes, codes)), dtype=np.float64)
            for estimator, codes in zip(self._estimators, self._codes, strict=True)
        ]
        return np.stack(predicted, axis=-1)

    def forget(self) -> None:
        """Drop everything."""
        self._estimators, self._rows, self._n_fit = [], [], 0
        self._features = [features[:0] for features in self._features]

    def _due(self, n_predictions: int) -> bool:
        """Whether a fit is due at the `n_predictions`-th prediction since the last."""
        return n_predictions >= self._refit_every and len(self._rows) > self._n_fit

    def _take_rows(self) -> None:
        """Fit on the latest rows."""
        n_old = max(0, len(self._rows) - _MAX_FIT_ROWS)
        self._rows = self._rows[n_old:]
        self._features = [features[n_old:] for features in self._features]
        self._n_fit, self._since_fit = len(self._rows), 0
        if self._encoder.ordered and self._n_learnt >= max(1, 2 * self._n_judged):
            self._choose_codes()
        self._fit()

    def _choose_codes(self) -> None:
        """Decide anew, gene by gene, whether the order of its alleles is used: whenever twice as
        much is known."""
        genomes, rows = zip(*self._rows, strict=True)
        turn = self._n_judged.bit_length()
        for i, column in enumerate(zip(*rows, strict=True)):
            codes = self._encoder.choose_codes(genomes, column, self._codes[i], turn)
            if codes != self._codes[i]:
                self._codes[i], self._features[i] = codes, self._features[i][:0]
        self._n_judged = self._n_learnt

    def _fit(self) -> None:
        rows = self._rows[: self._n_fit]
        earlier = [row for run in self._earlier for row in _shifted(run, dict(rows))]
        self._estimators = []
        for i in range(self._n_values):
            known = self._features[i]
            new = [genome for genome, _ in rows[len(known) :]]
            own = np.concatenate([known, self._encoder.encode(new, self._codes[i])])
            before = self._encoder.encode([genome for genome, _ in earlier], self._codes[i])
            estimator = self._make_estimator(self._random_state)
            column = [values[i] for _, values in (*earlier, *rows)]
            estimator.fit(np.concatenate([before, own]), _winsorised(column))
            self._features[i] = own
            self._estimators.append(estimator)

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """In JSON types. Without the rows it is small; then give `load_state_dict` all that was
        learnt, in its order."""
        rows = pack_rows(self._rows) if with_rows else len(self._rows)
        return {
            "rows": rows,
            "n_fit": self._n_fit,
            "since_fit": self._since_fit,
            "codes": [[[gene, n] for gene, n in enumerate(codes) if n] for codes in self._codes],
            "n_learnt": self._n_learnt,
            "n_judged": self._n_judged,
            "n_earlier": self.n_earlier,
        }

    def load_state_dict(
        self, state: dict[str, Any], learnt: Sequence[tuple[Genome, Values]] | None = None
    ) -> None:
        """Raises KeyError, IndexError, TypeError, ValueError or `GenomeError` for a damaged state. The fit in
        force is made again."""
        if learnt is None:
            self._rows = unpack_rows(state["rows"], len(self._encoder.n_choices), self._n_values)
        else:  # the last of them
            self._rows = list(learnt[len(learnt) - int(state["rows"]) :])
            if len(self._rows) != state["rows"]:
                raise ValueError(
                    f"{state['rows']} observed rows are needed, there are {len(learnt)}"
                )
        self._encoder.encode([genome for genome, _ in self._rows])
        if not state.get("n_earlier", 0):
            self._earlier = []
        self._n_fit, self._since_fit = int(state["n_fit"]), int(state["since_fit"])
        self._n_learnt, self._n_judged = int(state["n_learnt"]), int(state["n_judged"])
        given = state["codes"]  # None: of a version that had one-hot codes only
        for own, codes in zip(self._codes, given or [()] * len(self._codes), strict=True):
            own[:] = [0] * len(own)
            for gene, number in codes:
                own[gene] = min(int(number), CODES - 1)
        self._estimators = []
        self._features = [features[:0] for features in self._features]


def _spread(rows: Sequence[tuple[Genome, Values]], n: int) -> list[tuple[Genome, Values]]:
    """At most `n` rows, evenly spread from the best to the worst."""
    ordered = sorted(rows, key=lambda row: row[1])
    n = min(n, len(ordered))
    return [ordered[i * (len(ordered) - 1) // max(1, n - 1)] for i in range(n)]


def _shifted(
    earlier: Sequence[tuple[Genome, Values]], own: dict[Genome, Values]
) -> list[tuple[Genome, Values]]:
    """Rows of genomes that were not measured here, on this run's level: moved by the median
    difference of those that were measured in both."""
    both = [np.subtract(own[genome], values) for genome, values in earlier if genome in own]
    by = np.median(both, axis=0) if both else 0.0
    return [
        (genome, tuple((np.array(values) + by).tolist()))
        for genome, values in earlier
        if genome not in own
    ]


def _winsorised(values: Sequence[float]) -> Floats:
    """Values with the worst cut off as far above the median as the best lies below it.

    Screening has to tell good from better; a few disastrous candidates must not take the fit for
    themselves."""
    v = np.array(values, dtype=np.float64)
    median = np.median(v)
    cut: Floats = np.minimum(v, median + (median - v.min()) + 1e-12)
    return cut
