"""The search: the optimizer (engine and screening), and the loops that a run drives it by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.search.generations import Interrupted, Listener, Search
    from clso.search.optimizer import Optimizer, minimize

__all__ = ["Interrupted", "Listener", "Optimizer", "Search", "minimize"]

_HOME = {
    "Interrupted": "clso.search.generations",
    "Listener": "clso.search.generations",
    "Optimizer": "clso.search.optimizer",
    "Search": "clso.search.generations",
    "minimize": "clso.search.optimizer",
}


def __getattr__(name: str) -> Any:
    # Imported on first use: a module of this package needs not all of them.
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME[name]), name)
