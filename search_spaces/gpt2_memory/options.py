"""What a user may set of a space of memory models."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.errors import ConfigError
from clso.space.options import LanguageModelOptions

__all__ = ["MemoryOptions"]


@dataclass(frozen=True)
class MemoryOptions(LanguageModelOptions):
    """What a user may set of a space of memory models."""

    objectives: ClassVar[tuple[str, ...]] = ("loss", "flops", "n_bytes", "n_params", "energy_j")

    bilinear_tokens: int = 0
    """Tokens of the fitness text that a log-bilinear expert is fitted on; 0 leaves it out. It pays
    on a text of millions of tokens, and takes a GPU."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bilinear_tokens < 0:
            raise ConfigError("bilinear_tokens is at least 0", got=self.bilinear_tokens)
        if 0 < self.bilinear_tokens < self.n_positions:
            raise ConfigError(
                f"a log-bilinear expert is fitted on a block of {self.n_positions} tokens at least",
                got=self.bilinear_tokens,
                remedy="Raise bilinear_tokens, or leave it at 0.",
            )
