"""What keeps a start short: names of a package are imported on first use (`clso --help` must not
wait for torch), and what is imported is not searched for garbage."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

__all__ = ["first_use", "seldom_look_for_garbage"]


def first_use(package: str, homes: Mapping[str, str]) -> Callable[[str], Any]:
    """The `__getattr__` (PEP 562) of a package whose names live in the modules `homes`."""

    def look_up(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return look_up


def seldom_look_for_garbage() -> None:
    """Have this process look for cycles of objects once in 10,000 new ones; Python does in 700.

    To be called before torch is imported. Hardly anything that torch and scikit-learn make while they
    are imported is garbage."""
    gc.set_threshold(10_000)
