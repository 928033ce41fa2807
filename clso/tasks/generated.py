"""Tasks that are drawn by a generator: as many distinct examples as wanted, the same for equal
seeds."""

from __future__ import annotations

import random
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from clso.errors import ConfigError
from clso.tasks.base import Examples, Task, pad

__all__ = ["GeneratedOptions", "GeneratedTask", "ask"]

_MOST_REPEATS = 1000


@dataclass(frozen=True)
class GeneratedOptions:
    """How many examples are drawn."""

    n_train: int = 10_000
    """Examples to learn from."""
    n_valid: int = 1_000
    """Examples on which weights are chosen."""
    n_test: int = 1_000
    """Examples that no choice sees."""

    def __post_init__(self) -> None:
        for name in ("n_train", "n_valid", "n_test"):
            self.at_least(name, 1)

    def at_least(self, name: str, low: int) -> None:
        """Raises `ConfigError` if the option `name` is below `low`."""
        if getattr(self, name) < low:
            raise ConfigError(f"{name} is at least {low}", got=getattr(self, name))


class GeneratedTask(Task):
    """Subclasses draw one example. Test is drawn first: it does not change with the size of
    train."""

    Options: ClassVar[type] = GeneratedOptions

    @abstractmethod
    def _draw(self, rng: random.Random) -> tuple[Sequence[int], int | Sequence[int]]:
        """A sequence, and its class or (of equal length) its targets."""

    def _load(self) -> dict[str, Examples]:
        seen: set[bytes] = set()
        return {name: self._distinct(name, seen) for name in ("test", "valid", "train")}

    def _distinct(self, name: str, seen: set[bytes]) -> Examples:
        rng = random.Random(f"{self.name} {name} {self.seed}")
        n: int = getattr(self.options, f"n_{name}")
        rows: list[Sequence[int]] = []
        targets: list[Any] = []
        repeats = 0
        while len(rows) < n:
            tokens, target = self._draw(rng)
            key = np.asarray(tokens, np.uint16).tobytes()
            if key in seen:
                repeats += 1
                if repeats > _MOST_REPEATS + n:
                    raise ConfigError(
                        f"task {self.name} has as many distinct sequences as are asked for",
                        problem=f"only {len(seen)} distinct sequences were found",
                        remedy="Ask for fewer examples, or for longer ones.",
                    )
                continue
            seen.add(key)
            rows.append(tokens)
            targets.append(target)
        return Examples(
            pad(rows), np.asarray(targets, np.int64) if self.n_classes else pad(targets)
        )


def ask(sequence: Sequence[int], start: int) -> tuple[list[int], list[int]]:
    """What a language model sees of `sequence`, and its targets: the tokens from index `start`
    on."""
    targets = [token if i >= start else 0 for i, token in enumerate(sequence)]
    return list(sequence[:-1]), targets[1:]
