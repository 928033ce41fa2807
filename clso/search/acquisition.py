"""Which candidates are worth measuring, by what a surrogate predicts of their values."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import numpy.typing as npt

from clso.conversion import random_state
from clso.engine import crowded_order, gain_order, non_dominated
from clso.screening.encoding import Encoder
from clso.screening.learner import Estimator
from clso.space import Genome
from clso.space.objectives import Objectives
from clso.space.results import Evaluation

__all__ = ["Acquisition", "ParetoOrder"]

Floats = npt.NDArray[np.float64]

_MAX_FIT_ROWS = 512  # the latest values; bounds the time of a fit in long runs


class Acquisition(ABC):
    """Orders candidates for the screener. It knows what the optimizer tells it, and nothing of the
    engine."""

    @abstractmethod
    def order(self, candidates: Sequence[Genome], predicted: Floats) -> list[int]:
        """Indices of `candidates`, best first, given their predicted first values, shape (n,)."""

    def observe(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in true evaluations that succeeded, oldest first."""

    def forget(self) -> None:
        """Drop what was observed: others are to come instead, from a checkpoint."""


class ParetoOrder(Acquisition):
    """NSGA-II's order of predicted values and known costs.

    If only the first value is measured, a front must not be worse at it than a search for it alone:
    every other place goes to the lowest prediction, and the rest to what would make the front's
    hypervolume grow most.

    Only the first value is audited. For each other one that is measured, such as the energy, one
    more fit of the same kind of estimator predicts it from the latest that were measured.
    """

    def __init__(
        self, objectives: Objectives, make_estimator: Callable[[int], Estimator], *, seed: int
    ) -> None:
        self._objectives = objectives
        self._make_estimator = make_estimator
        self._random_state = random_state(seed)
        checked = objectives.checked
        self._encoder = Encoder(checked.sizes, checked.descriptors(), checked.mask)
        self._measured: deque[Evaluation] = deque(maxlen=_MAX_FIT_ROWS)
        self._front: list[tuple[float, ...]] = []

    @property
    def observed(self) -> list[Evaluation]:
        """The latest evaluations, from which further values are predicted; oldest first."""
        return list(self._measured)

    def observe(self, evaluations: Sequence[Evaluation]) -> None:
        self._measured.extend(evaluations)
        points = [*self._front, *(e.values for e in evaluations)]
        if points and self._objectives.only_first_is_measured:
            self._front = [points[i] for i in non_dominated(points)]

    def forget(self) -> None:
        self._measured.clear()
        self._front = []

    def order(self, candidates: Sequence[Genome], predicted: Floats) -> list[int]:
        known = [self._objectives.costs(genome) for genome in candidates]
        costs = self._objectives.space.cost_names
        columns = []
        for column, name in enumerate(self._objectives.names):
            if column == 0:
                columns.append(predicted)
            elif name in costs:
                columns.append(np.array([found[name] for found in known], dtype=np.float64))
            else:
                columns.append(self._predict(candidates, column))
        values = np.stack(columns, axis=1)
        if not self._front:
            return crowded_order(values)
        lowest = np.argsort(predicted, kind="stable").tolist()
        widest = gain_order(values, np.array(self._front))
        return list(dict.fromkeys(chain.from_iterable(zip(lowest, widest, strict=True))))

    def _predict(self, candidates: Sequence[Genome], column: int) -> Floats:
        """Value number `column` of each candidate, as an estimator learns it from what was
        measured."""
        estimator = self._make_estimator(self._random_state)
        estimator.fit(
            self._encoder.encode([e.genome for e in self._measured]),
            np.array([e.values[column] for e in self._measured]),
        )
        return np.asarray(estimator.predict(self._encoder.encode(candidates)), dtype=np.float64)
