"""A run: the straight line, its folder, and what is made of a finished one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clso.lazy import first_use

if TYPE_CHECKING:
    from clso.run.run import Trained, evolve, resume, train_on
    from clso.space.build import build_space, load_plugins

__all__ = ["Trained", "build_space", "evolve", "load_plugins", "resume", "train_on"]

_HOME = {
    **dict.fromkeys(("Trained", "evolve", "resume", "train_on"), "clso.run.run"),
    **dict.fromkeys(("build_space", "load_plugins"), "clso.space.build"),
}

__getattr__ = first_use(__name__, _HOME)
