"""`gpt2-memory`: a grown GPT-2, mixed in probability space with counted n-grams and with the block's own past.

The GPT-2 part is exact, but the mixture is no GPT-2, and is reported apart. Genes are those of `gpt2`, then the memory's.
"""

from __future__ import annotations

from functools import cached_property

from clso.search_spaces.gpt2_memory.grown import GrownGPT2
from clso.search_spaces.gpt2_memory.mixed import MemorySpace
from clso.search_spaces.gpt2_memory.part import GrownPart

__all__ = ["GPT2MemorySpace"]


class GPT2MemorySpace(MemorySpace):
    """Search space of memory models around a GPT-2."""

    name = "gpt2-memory"

    @cached_property
    def grown(self) -> GrownPart:
        return GrownGPT2(self)
