"""S4, environment: look-ahead through a model of the world that was counted in practice, never through the world.

The model says whether an action changes anything, by its local facts. What it then changes, that the block stands
on its target, is wired in, and so is what is wanted: supports in place or, with S5, blocks in final position.
"""

from __future__ import annotations

import numpy as np

from clso.search_spaces.vsm.choice import Floats, choose
from clso.search_spaces.vsm.genes import GREEDY
from clso.worlds.batched import Bools, Ints
from clso.worlds.facts import Scene, bit, final_bits, local_bits

__all__ = ["gains", "look_ahead", "model_of"]

_DISCOUNT = 0.1
"""By which a gain is worth less for each move that comes before it."""
_BY_SCORE = 0.5
"""What S1's best score adds to a first move's worth: it decides among equal gains, which are whole numbers."""
_NEVER = -1e9


def model_of(changed: Ints, tried: Ints) -> Bools:
    """For each local pattern whether its actions change something, more often than not; unknown ones are taken to."""
    likely: Bools = 2 * changed >= tried
    return likely


def gains(patterns: Ints, final_fact: bool) -> Ints:
    """How many more blocks are in place after an action: -1, 0 or 1, by its facts."""
    into = (patterns & bit("target-is-goal-support")) != 0
    if final_fact:
        into &= (patterns & bit("target-in-final-position")) != 0
        out = (patterns & bit("block-in-final-position")) != 0
    else:
        out = (patterns & bit("block-on-its-goal-support")) != 0
    gained: Ints = into.astype(np.int64) - out
    return gained


def look_ahead(
    scene: Scene,
    patterns: Ints,
    scores: Floats,
    model: Bools,
    *,
    depth: int,
    beam: int,
    final_fact: bool,
    draws: Floats,
) -> tuple[Ints, Ints]:
    """(B,) the first action of the best plan found, and how many nodes were looked at.

    `scores` (B, A) are S1's; an action with score 0 is refused, and not looked at. If the model knows of no action that
    changes anything, the best score decides.
    """
    rows, n_actions = patterns.shape
    local = len(model) - 1
    possible = model[patterns & local] & (scores > 0)
    worth = gains(patterns, final_fact) + _BY_SCORE * (scores / scores.max(axis=1, keepdims=True))
    worth = np.where(possible, worth, _NEVER)
    nodes = possible.sum(axis=1)
    best = worth.copy()  # (B, A): of the best plan that begins with each action
    first = np.broadcast_to(np.arange(n_actions), worth.shape)
    below = scene.below[:, None, :]  # (B, 1, n): the states that the present worths are of
    for turn in range(1, depth):
        chosen = np.argsort(-worth, axis=1, kind="stable")[:, :beam]
        value = np.take_along_axis(worth, chosen, axis=1)
        begun = np.take_along_axis(first, chosen, axis=1)
        below = _after(below, chosen, n_actions)
        flat = Scene.of(
            below.reshape(-1, scene.n_blocks), np.repeat(scene.goal, chosen.shape[1], axis=0)
        )
        facts = local_bits(flat) | (final_bits(flat) if final_fact else 0)
        legal = (
            (model[facts & local]).reshape(rows, -1, n_actions) & (value > _NEVER / 2)[:, :, None]
        )
        gained = gains(facts, final_fact).reshape(rows, -1, n_actions)
        new = value[:, :, None] + (1.0 - _DISCOUNT * turn) * gained
        worth = np.where(legal, new, _NEVER).reshape(rows, -1)
        first = np.repeat(begun, n_actions, axis=1)
        nodes = nodes + legal.reshape(rows, -1).sum(axis=1)
        np.maximum.at(best, (np.arange(rows)[:, None], first), worth)
    known = nodes > 0
    decided = np.where(known[:, None], (best == best.max(axis=1, keepdims=True)) * 1.0, scores)
    return choose(decided, GREEDY, draws), nodes


def _after(below: Ints, chosen: Ints, n_actions: int) -> Ints:
    """(B, k, n): the states after actions `chosen` (B, k), numbered through all states (B, s, n) and actions."""
    n = below.shape[2]
    source, action = chosen // n_actions, chosen % n_actions
    out = np.take_along_axis(below, source[:, :, None], axis=1)
    block, column = action // (n + 1), action % (n + 1)
    np.put_along_axis(out, block[:, :, None], np.where(column == n, -1, column)[:, :, None], axis=2)
    return out
