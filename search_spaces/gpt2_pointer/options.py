"""What a user may set of `gpt2-pointer`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from clso.space.options import LanguageModelOptions

__all__ = ["GPT2PointerOptions"]


@dataclass(frozen=True)
class GPT2PointerOptions(LanguageModelOptions):
    """What a user may set of `gpt2-pointer`."""

    objectives: ClassVar[tuple[str, ...]] = ("loss", "energy_j")
