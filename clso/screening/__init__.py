"""Screening: a surrogate says which candidates are worth a measurement, and is audited all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.screening.config import ScreeningConfig
    from clso.screening.encoding import Encoder
    from clso.screening.learner import Estimator
    from clso.screening.screener import Prediction, Screener, Screening

__all__ = ["Encoder", "Estimator", "Prediction", "Screener", "Screening", "ScreeningConfig"]

_HOME = {
    "Encoder": "clso.screening.encoding",
    "Estimator": "clso.screening.learner",
    "Prediction": "clso.screening.screener",
    "Screener": "clso.screening.screener",
    "Screening": "clso.screening.screener",
    "ScreeningConfig": "clso.screening.config",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: a module of this package needs not all of them.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
