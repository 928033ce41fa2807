"""Which candidates are worth measuring, by what surrogates predict of their values."""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from itertools import chain

import moocore
import numpy as np
import numpy.typing as npt

from clso.engine import crowded_order
from clso.space import Genome
from clso.space.results import Evaluation

__all__ = ["Acquisition", "ParetoOrder"]

Floats = npt.NDArray[np.float64]

_MOST = 16  # candidates that are ordered by their gain; more are not measured between two looks
_FAR = 1e6  # widths of the front, beyond which a prediction gains no more
_ROUNDING = 1e-12  # of a hypervolume


class Acquisition(ABC):
    """Orders candidates for the screener. It knows what the optimizer tells it, and nothing of the
    engine."""

    n_objectives = 1
    """How many objectives it orders by; an optimizer takes none that leaves out some of its own."""

    @abstractmethod
    def order(self, candidates: Sequence[Genome], predicted: Floats) -> list[int]:
        """Indices of `candidates`, best first, given the values predicted of each, shape (n,
        values): one for each objective whose value is not known without measuring it."""

    def observe(self, evaluations: Sequence[Evaluation]) -> None:
        """Take in true evaluations that succeeded, oldest first."""

    def forget(self) -> None:
        """Drop what was observed: others are to come instead, from a checkpoint."""


class ParetoOrder(Acquisition):
    """By how much more each candidate makes the measured front dominate, by predicted values and
    known costs.

    The greatest gain in hypervolume comes first; then the greatest beside that one, and so on, so
    that a batch spreads over the front instead of crowding at one gap. What gains nothing follows
    in NSGA-II's order.

    If only the first value is predicted, a front must not be worse at it than a search for it alone:
    every other place goes to the lowest prediction, unless such a search came first (`anchored`).

    Parameters
    ----------
    names
        The objectives.
    costs
        Of a genome, by name, exact. Objectives that are none of them are predicted.
    cost_names
        Which of the objectives `costs` knows.
    anchored
        Whether the first value alone was searched for before.
    """

    def __init__(
        self,
        names: Sequence[str],
        costs: Callable[[Genome], Mapping[str, float]],
        cost_names: Sequence[str] = (),
        *,
        anchored: bool = False,
    ) -> None:
        self._names, self._costs, self._cost_names = tuple(names), costs, frozenset(cost_names)
        self.n_objectives = len(self._names)
        self._anchored = anchored
        self._front = np.empty((0, self.n_objectives))

    @property
    def unknown(self) -> tuple[int, ...]:
        """Indices of the objectives that are predicted."""
        return tuple(i for i, name in enumerate(self._names) if name not in self._cost_names)

    @property
    def front(self) -> Floats:
        """Values of the measured front, shape (n, objectives)."""
        return self._front

    def observe(self, evaluations: Sequence[Evaluation]) -> None:
        points = np.array([e.values for e in evaluations]).reshape(-1, self.n_objectives)
        points = np.concatenate([self._front, points])
        self._front = points[moocore.is_nondominated(points)] if len(points) else points

    def forget(self) -> None:
        self._front = self._front[:0]

    def order(self, candidates: Sequence[Genome], predicted: Floats) -> list[int]:
        values = np.empty((len(candidates), self.n_objectives))
        values[:, self.unknown] = predicted
        if self._cost_names:
            costs = [self._costs(genome) for genome in candidates]
            for column, name in enumerate(self._names):
                if name in self._cost_names:
                    values[:, column] = [found[name] for found in costs]
        rest = crowded_order(np.concatenate([values, self._front]))
        first = self._by_gain(values)
        chosen = set(first)
        widest = first + [i for i in rest if i < len(candidates) and i not in chosen]
        if self._anchored or self.unknown != (0,) or not len(self._front):
            return widest
        lowest = np.argsort(values[:, 0], kind="stable").tolist()
        return list(dict.fromkeys(chain.from_iterable(zip(lowest, widest, strict=True))))

    def _by_gain(self, values: Floats) -> list[int]:
        """Indices of `values` that extend the front, each the one that gains most beside those
        before it, up to `_MOST`.

        A gain only falls as the front grows, so that a candidate whose gain was computed for a
        smaller front is looked at again only once it comes first (lazy greedy, Minoux 1978)."""
        front = self._front
        if not len(front):
            return []
        low, high = front.min(axis=0), front.max(axis=0)
        width = np.where(high > low, high - low, np.where(high == 0, 1.0, np.abs(high)))
        # the reference lies as far behind the front as that is wide
        points, front = ((v - high) / width for v in (values, front))
        inside = np.flatnonzero((points < 1).all(axis=1))
        points = np.maximum(points, -_FAR)

        def volume(of: Floats) -> float:
            return float(moocore.hypervolume(of, ref=np.ones(self.n_objectives)))

        def gain(i: int) -> float:
            return volume(np.concatenate([front, points[i : i + 1]])) - reached

        reached, first = volume(front), list[int]()
        queue = [(-gain(i), i, 0) for i in inside.tolist()]
        heapq.heapify(queue)
        while queue and len(first) < _MOST:
            gained, i, known = heapq.heappop(queue)
            if -gained <= _ROUNDING * reached:
                break
            if known == len(first):
                first.append(i)
                front = np.concatenate([front, points[i : i + 1]])
                reached -= gained
            else:
                heapq.heappush(queue, (-gain(i), i, len(first)))
        return first
