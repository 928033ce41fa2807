"""Cells and tables in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import median

__all__ = ["number", "sided", "signed", "spread", "table"]

Interval = tuple[float, float, float]
"""A mean, and the ends of its 95 % interval."""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns after the first are flush right."""
    rule = ["---", *["---:"] * (len(head) - 1)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rule, *rows))


def number(value: float, digits: int = 3) -> str:
    """A dash for NaN."""
    return "-" if math.isnan(value) else f"{value:,.{digits}f}"


def spread(values: Sequence[float]) -> str:
    """The median, with the range of more than one; a dash for none."""
    if not values:
        return "-"
    around = f" ({min(values):.3f}-{max(values):.3f})" if len(values) > 1 else ""
    return f"{median(values):.3f}{around}"


def signed(found: Interval) -> str:
    """`+0.010 (-0.020 to +0.040)`."""
    mean, low, high = found
    return f"{mean:+.3f} ({low:+.3f} to {high:+.3f})"


def sided(found: Interval) -> str:
    """What an interval of differences allows to claim."""
    _, low, high = found
    return "ahead" if low > 0 else "behind" if high < 0 else "no claim"
