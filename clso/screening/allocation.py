"""Three strategies of picking candidates by their predictions, each used as much as it pays."""

from __future__ import annotations

from bisect import bisect
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import numpy as np

__all__ = ["AUDIT", "Allocation"]

BEST, GOOD, AUDIT = range(3)
_GOOD_SHARE = 1 / 3
_LEAST = 0.12  # of what is chosen, by each strategy
_DECAY = (
    0.98  # per batch: wins are rare, and what paid a hundred batches ago tells little about now
)
_PRIOR = 0.5, 8.0  # wins and tries that each strategy begins with


class Allocation:
    """Divides a choice among the best predictions, the good ones, and audits.

    *Best* takes the lowest predictions, *good* draws uniformly from the better third, *audit*
    uniformly from all that is left. A win is a candidate that beats everything measured before its
    batch. Shares are proportional to the recent wins per try: where predictions find the strategy,
    nearly all follow them; on a plateau, where the lowest predictions only repeat what is known,
    good ones (harmful changes are filtered out) and audits (plain evolution) take over.

    If it is `greedy`, shares do not follow the wins: but for the least share of audits, all are the
    best predictions. An order that spreads over a front needs nothing drawn at random."""

    def __init__(self, rng: np.random.Generator, *, greedy: bool = False) -> None:
        self._rng, self._greedy = rng, greedy
        self._wins, self._tries = [0.0] * 3, [0.0] * 3

    def choose(self, order: Sequence[int], n: int) -> dict[int, int]:
        """Index -> strategy for `n` of the candidates, given best prediction first; ascending. At
        least one is an audit."""
        n_by_strategy = self._split(n)
        picked = dict.fromkeys(order[: n_by_strategy[BEST]], BEST)
        rest = order[n_by_strategy[BEST] :]
        n_good = max(n_by_strategy[GOOD], int(_GOOD_SHARE * len(order)))
        picked.update(
            (rest[i], GOOD)
            for i in self._rng.permutation(min(n_good, len(rest)))[: n_by_strategy[GOOD]]
        )
        rest = [i for i in rest if i not in picked]
        picked.update(
            (rest[i], AUDIT) for i in self._rng.permutation(len(rest))[: n_by_strategy[AUDIT]]
        )
        return dict(sorted(picked.items()))

    def _split(self, n: int) -> list[int]:
        if self._greedy:
            n_audits = max(1, round(_LEAST * n))
            return [n - n_audits, 0, n_audits]
        wins, tries = _PRIOR
        rates = [(w + wins) / (t + tries) for w, t in zip(self._wins, self._tries, strict=True)]
        shares = [max(rate / sum(rates), _LEAST) for rate in rates]
        shares = [share / sum(shares) for share in shares]
        counts = [int(share * n) for share in shares]
        up_to = list(accumulate(shares))
        while sum(counts) < n:  # what rounding left over is drawn
            counts[min(bisect(up_to, up_to[-1] * self._rng.random()), AUDIT)] += 1
        if not counts[AUDIT]:
            counts[counts.index(max(counts))] -= 1
            counts[AUDIT] = 1
        return counts

    def credit(self, outcomes: Sequence[tuple[int, bool]]) -> None:
        """Take in one batch: the strategy of each measured candidate, and whether it won."""
        self._wins, self._tries = (
            [_DECAY * w for w in self._wins],
            [_DECAY * t for t in self._tries],
        )
        for strategy, won in outcomes:
            self._tries[strategy] += 1
            self._wins[strategy] += won

    def state_dict(self) -> dict[str, Any]:
        return {"wins": self._wins, "tries": self._tries}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a damaged state."""
        self._wins, self._tries = ([float(x) for x in state[key]] for key in ("wins", "tries"))
        if len(self._wins) != 3 or len(self._tries) != 3:
            raise ValueError("a allocation has three strategies")
