"""A run: the straight line, its folder, and what is made of a finished one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.run.run import Trained, evolve, resume, train_on

__all__ = ["Trained", "evolve", "resume", "train_on"]


def __getattr__(name: str) -> Any:
    # Imported on first use: a finished run is read, compared and reported without torch.
    if name not in __all__:
        raise AttributeError(f"module 'clso.run' has no attribute {name!r}")
    from clso.run import run

    return getattr(run, name)
