"""What a user may set of `nsm`."""

from __future__ import annotations

from dataclasses import dataclass

from clso.errors import ConfigError
from clso.space.options import LanguageModelOptions, require_library

__all__ = ["NSMOptions"]


@dataclass(frozen=True)
class NSMOptions(LanguageModelOptions):
    """What a user may set of `nsm`. The number of heads is a gene: `n_heads` is that of the GPT-2s
    that it is compared with."""

    library: str = "grown"
    """Where the crystals come from: "grown" (from the corpus, in closed form), or "random" (the
    control)."""
    library_size: int = 64
    """Random crystals per slot shape."""

    def __post_init__(self) -> None:
        super().__post_init__()
        require_library(self.library, "grown", "random")
        if self.library_size < 1:
            raise ConfigError("library_size is at least 1", got=self.library_size)
