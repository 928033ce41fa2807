"""What search spaces of controllers offer besides: a winner on disk that acts in a world, and can be measured again."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.errors import ConfigError
from clso.space import SearchSpace
from clso.worlds.blocks import check_blocks

__all__ = ["ControllerSpace", "Request"]


@dataclass(frozen=True)
class Request:
    """What a winner is measured on. Raises `ConfigError` or `DataError` for what cannot be."""

    split: str = "test"
    blocks: int | None = None
    """Of drawn problems; None: as many as the run's own."""
    problems: Path | None = None
    """A file of problems, instead of drawn ones."""
    plans: Path | None = None
    """File for the plans."""
    without: tuple[str, ...] = ()
    """Levels to switch off."""
    raise_again: bool = False
    """Whether the controller without these levels practises anew, or goes on with what it has learned."""

    def __post_init__(self) -> None:
        if self.blocks is not None:
            check_blocks(self.blocks)
        if self.problems is not None and self.blocks is not None:
            raise ConfigError(
                "problems are drawn with --blocks or read from --problems",
                got=(self.blocks, str(self.problems)),
                remedy="Give one of the two.",
            )
        if self.raise_again and not self.without:
            raise ConfigError(
                "--raise-again is for a controller with levels switched off",
                remedy="Give --without, such as --without S4,purple.",
            )


class ControllerSpace(SearchSpace):
    """A space whose winners are controllers."""

    @abstractmethod
    def evaluate_winner(self, folder: Path, request: Request) -> dict[str, Any]:
        """`success`, `spl`, `plan_ratio`, `n_problems` and `operations` (a decision) of the winner in `folder`."""
