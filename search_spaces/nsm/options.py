"""What a user may set of `nsm`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.space.options import LibraryOptions

__all__ = ["NSMOptions"]


@dataclass(frozen=True)
class NSMOptions(LibraryOptions):
    """What a user may set of `nsm`. The number of heads is a gene: `n_heads` is that of the GPT-2s
    that it is compared with."""

    objectives: ClassVar[tuple[str, ...]] = ("loss", "flops", "n_params", "energy_j")
    gens: ClassVar[int] = 15
    """Generations of `clso evolve` if nobody says how many: more find nothing that shows on other text."""
