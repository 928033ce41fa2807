"""Settings under which a profile of the models in `sequence_models.py` takes a moment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso.profiling import ProfileSettings

MODELS = Path(__file__).with_name("sequence_models.py")


def spec(name: str) -> str:
    return f"{MODELS}:{name}"


def settings(*names: str, **options: Any) -> ProfileSettings:
    small: dict[str, Any] = {
        "d_model": 32,
        "vocab_size": 50,
        "repeats": 2,
        "min_time_s": 0.0,
        "device": "cpu",
        "energy": "null",
    }
    return ProfileSettings(models=tuple(map(spec, names)), **{**small, **options})
