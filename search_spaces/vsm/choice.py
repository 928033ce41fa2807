"""Drawing an action by scores. Only +, x, / and comparisons, in a fixed order: plain Python draws the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from clso.search_spaces.vsm.genes import GREEDY
from clso.worlds.batched import Ints

__all__ = ["Floats", "choose", "to_power"]

Floats = npt.NDArray[np.float64]


def to_power(scores: Floats, power: int) -> Floats:
    """`scores` to a power of two, by squaring."""
    while power > 1:
        scores, power = scores * scores, power // 2
    return scores


def choose(scores: Floats, power: int, draws: Floats) -> Ints:
    """(B,): an action each, with probability proportional to `scores` (B, A) to `power`.

    `GREEDY` draws among the best. Scores are at most 1 and at least one of a row is above 0; the
    best one's share is divided out first, so that no power makes all of them vanish.
    """
    best = scores.max(axis=1, keepdims=True)
    weights = (scores == best) * 1.0 if power == GREEDY else to_power(scores / best, power)
    sums = np.cumsum(weights, axis=1)
    picked: Ints = (sums <= draws[:, None] * sums[:, -1:]).sum(axis=1, dtype=np.int64)
    last: Ints = np.minimum(picked, scores.shape[1] - 1)  # draw x sum may round to the sum
    return last
