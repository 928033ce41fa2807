"""The Purple Line: an alarm that something goes round in circles, and what is done about it for some decisions.

It bypasses the other levels. Its responses know from the facts what is legal: that is wired in.
"""

from __future__ import annotations

import numpy as np

from clso.search_spaces.vsm.choice import Floats
from clso.search_spaces.vsm.genes import Anatomy
from clso.search_spaces.vsm.s5 import masked
from clso.worlds.batched import Bools, Ints
from clso.worlds.draws import uniform_array
from clso.worlds.episode import Episodes
from clso.worlds.facts import ACTION_LEGAL, bit

__all__ = ["DRAW_ALARM", "hear", "response"]

DRAW_ALARM = 1  # the counter of its draws


def hear(episodes: Episodes, anatomy: Anatomy) -> Bools:
    """(B,): whether an alarm is being answered at this decision. Counts down, and begins a new one."""
    if anatomy.alarm == "off":
        return np.zeros(len(episodes.stream), dtype=np.bool_)
    if anatomy.alarm == "random":
        draws = uniform_array(episodes.stream, episodes.step, DRAW_ALARM)
        raised = draws < anatomy.purple_rate
        count = episodes.base
    else:
        count = {
            "betti": episodes.betti,
            "revisits": episodes.n_revisits,
            "no-progress": episodes.stalled,
        }[anatomy.alarm]
        episodes.base = np.minimum(episodes.base, count)  # progress sets its count back
        raised = count - episodes.base >= anatomy.purple_threshold
    raised &= episodes.alarmed == 0
    episodes.base = np.where(raised, count, episodes.base)
    episodes.alarmed = np.where(raised, anatomy.purple_length, episodes.alarmed)
    answering: Bools = episodes.alarmed > 0
    episodes.alarmed = episodes.alarmed - answering
    return answering


def response(patterns: Ints, kept: Bools, kind: str) -> Floats:
    """(B, A): 1 for the actions that an alarm's response draws from: `kept` by S5, legal, and for "unstack" only those
    that put a block of a tower on the table, if there are any."""
    with_, without = ACTION_LEGAL
    legal = ((patterns & with_) == with_) & ((patterns & without) == 0)
    scores = masked(legal * 1.0, kept & legal)
    if kind == "unstack":
        down = ((patterns & bit("target-is-table")) != 0) & (
            (patterns & bit("block-on-table")) == 0
        )
        scores = masked(scores, down & (scores > 0))
    return scores
