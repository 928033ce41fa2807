"""Whether a surrogate's predictions rank: kept by audits, candidates that were measured to see
that."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from statistics import median
from typing import Any

from clso.screening.awaited import Values
from clso.screening.packing import pack, unpack
from clso.screening.ranks import rank_correlation

__all__ = ["Trust"]

_SIGNIFICANT = 1.645  # one-sided 5 % of a standard normal
_PATIENCE = 2  # audit windows that a surrogate has in which to become trusted


class Trust:
    """The rules by which a surrogate is trusted, and by which it is switched off for good.

    It becomes trusted once at least `min_audits` audits give a Spearman correlation of `threshold`
    or more that chance gives in under 5 % of cases (rho sqrt(n - 1) >= 1.645). It is switched off
    when that has not come within two windows, or when, trusted, the correlation over the last
    `window` audits falls below `threshold`.

    A candidate may have several values: then the correlation is that of the value that is ranked
    worst, for a search screened by some of its objectives neglects the others.

    Audits are compared after subtracting the medians of their batch, predicted and true: what is
    tested is the ranking inside a batch, which screening uses, and not the drift of a search that
    improves, which any constant guess follows."""

    def __init__(
        self, *, threshold: float, window: int, min_audits: int, n_values: int = 1
    ) -> None:
        self._threshold, self._min_audits, self._n_values = threshold, min_audits, n_values
        # centred (predicted, true) of each value
        self._audits: deque[list[tuple[float, float]]] = deque(maxlen=window)
        self.correlation: float | None = None
        """Of the audits in the window; None before 3 of them."""
        self.n_audits = 0
        """Those that left the window included."""
        self.in_force = False
        self.off_reason: str | None = None

    @property
    def is_off(self) -> bool:
        return self.off_reason is not None

    def audit(self, batch: Sequence[tuple[Values, Values]], audited: Sequence[bool]) -> None:
        """Take in a batch of (predicted, true) values, of which the `audited` count."""
        pairs = [list(zip(predicted, true, strict=True)) for predicted, true in batch]
        centres = [
            tuple(median(pair[i] for pair in column) for i in (0, 1))
            for column in zip(*pairs, strict=True)
        ]
        for row, counts in zip(pairs, audited, strict=True):
            if counts:
                self._audits.append(
                    [(p - pc, t - tc) for (p, t), (pc, tc) in zip(row, centres, strict=True)]
                )
                self.n_audits += 1
        self._judge()

    def _worst_correlation(self) -> float | None:
        """None as long as that of some value is not known."""
        found = [rank_correlation(column) for column in zip(*self._audits, strict=True)]
        known = [rho for rho in found if rho is not None]
        return min(known) if known and len(known) == len(found) else None

    def _judge(self) -> None:
        self.correlation = rho = self._worst_correlation()
        n = len(self._audits)
        if rho is None or n < self._min_audits:
            return
        if self.in_force:
            if rho < self._threshold:
                self.switch_off(
                    f"rank correlation {rho:.3f} on the last {n} audits, below {self._threshold}"
                )
        elif rho >= self._threshold and rho * math.sqrt(n - 1) >= _SIGNIFICANT:
            self.in_force = True
        elif self.n_audits >= _PATIENCE * (self._audits.maxlen or 0):
            self.switch_off(
                f"never trusted: rank correlation {rho:.3f} on the last {n} of {self.n_audits} audits, "
                f"{self._threshold} needed"
            )

    def switch_off(self, reason: str) -> None:
        """For good."""
        self.off_reason, self.in_force = reason, False

    def state_dict(self) -> dict[str, Any]:
        """In JSON types."""
        return {
            "audits": pack(self._audits, "<f8"),
            "n_audits": self.n_audits,
            "trusted": self.in_force,
            "disabled_reason": self.off_reason,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for a damaged state."""
        self._audits.clear()
        rows = unpack(state["audits"], "<f8").reshape(-1, self._n_values, 2).tolist()
        self._audits.extend([(p, t) for p, t in row] for row in rows)
        self.correlation, self.n_audits = self._worst_correlation(), int(state["n_audits"])
        self.in_force, self.off_reason = bool(state["trusted"]), state["disabled_reason"]
