"""How a cost grows with the length: y = a n^b, fitted by least squares of log y on log n."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from clso.profiling.measure import Row

__all__ = ["FORMS", "QUANTITIES", "Exponent", "best_form", "fit", "fit_all"]

FORMS: dict[str, Callable[[float], float]] = {
    "n": lambda n: n,
    "n log n": lambda n: n * math.log(n) if n > 1 else 0.0,
    "n^2": lambda n: n * n,
}
"""How a cost may grow with n."""

QUANTITIES = (
    "forward_time_s",
    "backward_time_s",
    "activation_bytes",
    "peak_bytes",
    "flops_forward",
)


@dataclass(frozen=True)
class Exponent:
    """The exponent b of one model's quantity with its standard error, over the lengths that were
    measured.

    Over a finite range it is a mean slope: a constant part (weights, launches) lowers it.
    `exponent` is None with fewer than two lengths, `standard_error` with fewer than three; `reason`
    says so."""

    model: str
    quantity: str
    exponent: float | None
    standard_error: float | None
    lengths: tuple[int, ...]
    reason: str | None = None


def fit(lengths: Sequence[float], values: Sequence[float]) -> tuple[float, float | None]:
    """The exponent over at least two different lengths, and its standard error if there are
    three or more."""
    x, y = [math.log(n) for n in lengths], [math.log(v) for v in values]
    mean_x, mean_y = math.fsum(x) / len(x), math.fsum(y) / len(y)
    spread = math.fsum((a - mean_x) ** 2 for a in x)
    slope = math.fsum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    if len(x) < 3:
        return slope, None
    rest = math.fsum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    return slope, math.sqrt(rest / (len(x) - 2) / spread)


def best_form(
    lengths: Sequence[float], values: Sequence[float]
) -> tuple[str | None, dict[str, float]]:
    """Which of `FORMS` fits best as a + b f(n) with a, b >= 0, by relative least squares, and each
    one's root mean square relative error. None below three lengths: two constants fit two.

    >>> best_form([1, 2, 4, 8], [5, 8, 20, 68])[0]
    'n^2'
    """
    n, y = np.asarray(lengths, np.float64), np.asarray(values, np.float64)
    errors = {}
    for name, form in FORMS.items():
        grown = np.array([form(x) for x in n])
        # y's own scale on both sides, so that every length counts alike
        columns = np.stack([1 / y, grown / grown.max() / y], axis=1)
        columns_scale = np.abs(columns).max(axis=0)
        _, residual = nnls(columns / columns_scale, np.ones_like(y))
        errors[name] = float(residual / math.sqrt(len(y)))
    best = min(errors, key=lambda name: errors[name]) if len(set(lengths)) > 2 else None
    return best, errors


def fit_all(rows: Sequence[Row]) -> list[Exponent]:
    """One `Exponent` for each model and each of `QUANTITIES`, in order."""
    return [
        _fit_one(rows, model, q)
        for model in dict.fromkeys(r.model for r in rows)
        for q in QUANTITIES
    ]


def _fit_one(rows: Sequence[Row], model: str, quantity: str) -> Exponent:
    points = [(r.length, getattr(r, quantity)) for r in rows if r.model == model]
    points = [(n, value) for n, value in points if value is not None and value > 0]
    lengths = tuple(n for n, _ in points)
    if len(set(lengths)) < 2:
        return Exponent(
            model, quantity, None, None, lengths, "fewer than two lengths were measured"
        )
    slope, error = fit(lengths, [value for _, value in points])
    reason = "two points have no standard error" if error is None else None
    return Exponent(model, quantity, slope, error, lengths, reason)
