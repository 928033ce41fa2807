"""What a search space is built from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from clso.data import Corpus

__all__ = ["SpaceContext"]


@dataclass(frozen=True)
class SpaceContext:
    """What a space is built from. A space that is no language model can ignore all of it."""

    load_corpus: Callable[[], Corpus]
    device: str = "cpu"
    seed: int = 0
    fitness_tokens: tuple[int, ...] = (2048,)
    """Tokens of the rungs, rising: every candidate is measured on the first, promising ones on the
    next."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What the user set of the space's `Options`."""
    task: str = ""
    """The sequence task that a space with `takes_tasks` is searched on, instead of a text."""
    task_options: Mapping[str, Any] = field(default_factory=dict)
    """What the user set of the task's `Options`."""
