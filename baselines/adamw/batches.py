"""Which blocks of the training text each step reads, and how valid is cut for scoring."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.errors import DataError
from clso.space.language import token_blocks

__all__ = ["IGNORED", "block_starts", "scoring_blocks"]

IGNORED = -100
"""The target that `cross_entropy` leaves out."""


def block_starts(n_tokens: int, n_positions: int, steps: int, batch: int, seed: int) -> Tensor:
    """Where each step's blocks start in the text: (steps, batch) int64.

    Each epoch cuts the text at a new random phase and visits every block once, in random order: no
    text repeats within an epoch, and later epochs see other cuts of it. Raises `DataError` for a
    text without a whole block."""
    last = n_tokens - 1 - n_positions
    if last < 0:
        raise DataError(f"a training text has at least {n_positions + 1} tokens", got=n_tokens)
    generator = torch.Generator().manual_seed(seed)
    epochs: list[Tensor] = []
    missing = steps * batch
    while missing > 0:
        phase = int(torch.randint(min(n_positions, last + 1), (1,), generator=generator))
        n_blocks = (n_tokens - 1 - phase) // n_positions
        epochs.append(phase + n_positions * torch.randperm(n_blocks, generator=generator))
        missing -= n_blocks
    return torch.cat(epochs)[: steps * batch].view(steps, batch)


def scoring_blocks(
    tokens: np.ndarray[Any, Any], n_positions: int, most: int, n_blocks: int | None = None
) -> tuple[Tensor, int]:
    """Blocks of a text (all, or `n_blocks` of them) as equal batches of at most `most`; how many
    targets they hold.

    The blocks are (n_batches, size, n_positions + 1) int32, filled up with `IGNORED`: one shape,
    one compilation."""
    blocks = token_blocks(tokens, n_positions, n_blocks).to(torch.int32)
    n_batches = -(-len(blocks) // most)
    size = -(-len(blocks) // n_batches)
    filled = torch.full((n_batches * size, n_positions + 1), IGNORED, dtype=torch.int32)
    filled[: len(blocks)] = blocks
    return filled.view(n_batches, size, -1), len(blocks) * n_positions
