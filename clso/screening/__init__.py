"""Screening: a surrogate says which candidates are worth a measurement, and is audited all the time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clso.lazy import first_use

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

__getattr__ = first_use(__name__, _HOME)
