"""What a user may set of `gpt2`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.errors import ConfigError
from clso.space.options import LibraryOptions

__all__ = ["GPT2Options"]


@dataclass(frozen=True)
class GPT2Options(LibraryOptions):
    """What a user may set of `gpt2`."""

    objectives: ClassVar[tuple[str, ...]] = ("loss", "flops", "n_bytes", "n_params", "energy_j")
    libraries: ClassVar[tuple[str, ...]] = ("grown", "random", "warm")

    library: str = "grown"
    """Where the crystals come from: "grown" (from the corpus, in closed form), "random" (the
    control), or "warm" (cut from `checkpoint`)."""
    checkpoint: str = ""
    """Folder of the GPT-2 that a warm library is cut from: a run's, or one in the layout of
    `transformers`."""
    mlp: bool = False
    """Whether grown GPT-2s also have genes for an MLP of random features: 0.003 nats at best for
    two more genes."""
    neurons: bool = True
    """Whether grown GPT-2s also have a gene for MLP neurons that remember pairs of tokens."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.library == "warm" and not self.checkpoint:
            raise ConfigError(
                "library warm is cut from a checkpoint",
                got=self.checkpoint,
                remedy="Give --checkpoint FOLDER, of a GPT-2 that a run or `clso export` wrote.",
            )
        if self.library != "warm" and self.checkpoint:
            raise ConfigError(
                f"library {self.library} uses no checkpoint",
                got=self.checkpoint,
                remedy="Use --library warm with it.",
            )
