"""What a logger is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

__all__ = ["Logger"]


class Logger(ABC):
    """Writes one run's figures somewhere; made after the run's first generation.

    Parameters
    ----------
    folder
        The run folder; its name is the run's.
    config
        The run's settings, of JSON types.
    """

    requires: ClassVar[str] = ""
    """The module that it needs, if any: looked for, and not imported, before the run begins."""
    extra: ClassVar[str] = ""
    """The extra of CLSO that installs it."""

    @abstractmethod
    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None: ...

    @abstractmethod
    def values(self, step: int, values: Mapping[str, float]) -> None:
        """Figures of generation `step` by name, such as `best/loss` and `evaluated`."""

    @abstractmethod
    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        """The end of the run: the winner's figures and what the run cost by name (`winner/test_loss`,
        `joules/search`), and the winner's alleles by gene, without those that make no
        difference."""

    def close(self) -> None:
        """Nothing more comes: the run has ended, or was interrupted."""
