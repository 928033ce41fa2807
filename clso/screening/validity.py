"""How likely candidates are to be measured at all, learned from those that failed."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from clso.conversion import random_state
from clso.screening.encoding import Encoder
from clso.screening.learner import Estimator
from clso.screening.packing import pack_rows, unpack_rows
from clso.space import Genome

__all__ = ["Validity"]

Floats = npt.NDArray[np.float64]

_MAX_FIT_ROWS = 512  # the latest outcomes
_LEAST = 4  # failures, and successes, before anything is predicted
_CERTAIN = 0.02  # no chance is said to be nearer to 0 or 1
_EVIDENCE = 2.0  # nats that predictions have to be ahead of the failures' share


class Validity:
    """The chance that a candidate does not fail: the surrogate's own kind of estimator, fitted on
    1 for a failure and 0 for a success.

    Each prediction is made before its outcome is known, and scored by its logarithm (prequential,
    Dawid 1984, doi:10.2307/2981683) against what the share of failures so far would have said. Only
    while predictions are ahead of that by `_EVIDENCE` nats in all are they used: failures that come
    by chance, or none, leave the search as it is."""

    def __init__(
        self, make_estimator: Callable[[int], Estimator], encoder: Encoder, *, seed: int
    ) -> None:
        self._make_estimator, self._encoder = make_estimator, encoder
        self._random_state = random_state(seed)
        self._rows: deque[tuple[Genome, tuple[float, ...]]] = deque(maxlen=_MAX_FIT_ROWS)
        self._estimator: Estimator | None = None  # fitted on these rows
        self._n, self._n_failed = 0, 0
        self._gain = 0.0
        self._is_broken = False

    @property
    def in_force(self) -> bool:
        """Whether predictions tell more than the share of failures."""
        return self._gain >= _EVIDENCE and not self._is_broken

    def chances(self, genomes: Sequence[Genome]) -> Floats | None:
        """The chance of each not to fail, shape (n,); None while too little is known.

        An estimator that raises, or predicts no finite number, is not asked again."""
        if self._is_broken or not _LEAST <= self._n_failed <= self._n - _LEAST:
            return None
        try:
            if self._estimator is None:
                estimator = self._make_estimator(self._random_state)
                failed = np.array([outcome for _, (outcome,) in self._rows])
                estimator.fit(self._encoder.encode([genome for genome, _ in self._rows]), failed)
                self._estimator = estimator
            predicted = np.asarray(
                self._estimator.predict(self._encoder.encode(genomes)), dtype=np.float64
            )
        except KeyboardInterrupt:
            raise
        except BaseException:  # a plugin's estimator may raise anything, SystemExit too
            predicted = np.empty(0)
        if predicted.shape != (len(genomes),) or not np.isfinite(predicted).all():
            self._is_broken = True
            return None
        return 1 - np.clip(predicted, _CERTAIN, 1 - _CERTAIN)

    def learn(
        self, outcomes: Sequence[tuple[Genome, bool]], chances: Mapping[Genome, float] | None = None
    ) -> None:
        """Take in genomes and whether they failed, with the chances that were predicted of them."""
        share = (self._n_failed + 0.5) / (self._n + 1)
        for genome, failed in outcomes:
            if chances and genome in chances:
                chance = chances[genome]
                self._gain += math.log((1 - chance) / share if failed else chance / (1 - share))
            self._rows.append((genome, (float(failed),)))
            self._n += 1
            self._n_failed += failed
        if outcomes:
            self._estimator = None

    def state_dict(self, *, with_rows: bool = True) -> dict[str, Any]:
        """In JSON types. Without the rows it is small; then give `load_state_dict` all outcomes, in
        the order in which they were learnt."""
        return {
            "rows": pack_rows(self._rows) if with_rows else len(self._rows),
            "n": self._n,
            "n_failed": self._n_failed,
            "gain": self._gain,
            "is_broken": self._is_broken,
        }

    def load_state_dict(
        self, state: dict[str, Any], learnt: Sequence[tuple[Genome, bool]] | None = None
    ) -> None:
        """Raises KeyError, TypeError or ValueError for a damaged state."""
        self._rows.clear()
        self._estimator = None
        if learnt is None:
            self._rows.extend(unpack_rows(state["rows"], len(self._encoder.n_choices)))
        else:
            self._rows.extend((genome, (float(failed),)) for genome, failed in learnt)
        self._n, self._n_failed = int(state["n"]), int(state["n_failed"])
        self._gain, self._is_broken = float(state["gain"]), bool(state["is_broken"])
