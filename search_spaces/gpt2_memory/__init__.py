"""`gpt2-memory`: a grown GPT-2 mixed with counted memory and the block's own past."""

from clso.search_spaces.gpt2_memory.space import GPT2MemorySpace

__all__ = ["GPT2MemorySpace"]
