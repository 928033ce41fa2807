"""S3, resources: look-ahead is spent where S1 hesitates, and while the episode's budget of nodes lasts.

Off: S4 looks ahead at every decision.
"""

from __future__ import annotations

import numpy as np

from clso.search_spaces.vsm.choice import Floats
from clso.worlds.batched import Bools, Ints

__all__ = ["grants"]


def grants(scores: Floats, closeness: float, budget: Ints) -> Bools:
    """(B,): whether the second-best of `scores` (B, A) is close to the best and some budget (B,) is left."""
    two = np.partition(scores, -2, axis=1)[:, -2:]
    hesitates: Bools = two[:, 0] >= closeness * two[:, 1]
    return hesitates & (budget > 0)
