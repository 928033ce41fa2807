"""Why candidates of a run failed: the reasons, most frequent first."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from clso.space.results import Evaluation

__all__ = ["failure_reasons"]

_KEPT = 5
_LONGEST = 300  # characters of a reason
_NUMBER = re.compile(r"\d+(\.\d+)?(e[-+]?\d+)?")


def failure_reasons(evaluations: Iterable[Evaluation]) -> list[dict[str, Any]]:
    """`n` and `reason` of the failures that are most frequent. Those that differ in numbers alone
    count together, and the first of them is shown."""
    counts: dict[str, int] = {}
    first: dict[str, str] = {}
    for evaluation in evaluations:
        if not evaluation.ok:
            kind = _NUMBER.sub("#", evaluation.reason)
            first.setdefault(kind, evaluation.reason[:_LONGEST])
            counts[kind] = counts.get(kind, 0) + 1
    most = sorted(counts, key=lambda kind: -counts[kind])[:_KEPT]
    return [{"n": counts[kind], "reason": first[kind]} for kind in most]
