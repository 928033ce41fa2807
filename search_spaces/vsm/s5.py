"""S5, identity: what is not done. A finished tower is not broken, and no block is put on its goal support before that
is in its final position. Its recursive fact "in final position" is in `facts`."""

from __future__ import annotations

import numpy as np

from clso.search_spaces.vsm.choice import Floats
from clso.worlds.batched import Bools, Ints
from clso.worlds.facts import bit

__all__ = ["allowed", "masked"]


def allowed(patterns: Ints, *, refusal: bool, goal_order: bool) -> Bools:
    """(B, A): the actions that S5 does not forbid."""
    out = np.ones(patterns.shape, dtype=np.bool_)
    if refusal:
        out &= (patterns & bit("block-in-final-position")) == 0
    if goal_order:
        early = (patterns & bit("target-is-goal-support")) != 0
        out &= ~early | ((patterns & bit("target-in-final-position")) != 0)
    return out


def masked(scores: Floats, kept: Bools) -> Floats:
    """`scores` with 0 for what is not `kept`; as they are in a row of which nothing would be left."""
    return np.where(kept | ~kept.any(axis=1, keepdims=True), scores, 0.0)
