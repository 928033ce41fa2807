"""A run: the straight line, its folder, and what is made of a finished one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.run.run import Trained, evolve, resume, train_on
    from clso.space.build import build_space, load_plugins

__all__ = ["Trained", "build_space", "evolve", "load_plugins", "resume", "train_on"]

_HOME = {"build_space": "clso.space.build", "load_plugins": "clso.space.build"}


def __getattr__(name: str) -> Any:
    # Imported on first use: a finished run is read, compared and reported without torch.
    if name not in __all__:
        raise AttributeError(f"module 'clso.run' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOME.get(name, "clso.run.run")), name)
