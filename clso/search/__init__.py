"""The search: the optimizer (engine and screening), and the loops that a run drives it by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clso.lazy import first_use

if TYPE_CHECKING:
    from clso.search.generations import Interrupted, Listener, Search
    from clso.search.minimizing import minimize
    from clso.search.optimizer import Optimizer

__all__ = ["Interrupted", "Listener", "Optimizer", "Search", "minimize"]

_HOME = {
    "Interrupted": "clso.search.generations",
    "Listener": "clso.search.generations",
    "Optimizer": "clso.search.optimizer",
    "Search": "clso.search.generations",
    "minimize": "clso.search.minimizing",
}

__getattr__ = first_use(__name__, _HOME)
