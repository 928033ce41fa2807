"""The loss that is trained on, and its compiled form."""

from __future__ import annotations

import types
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from baselines.adamw_batches import IGNORED
from clso.models.gpt2 import GPT2

__all__ = ["compiled_loss", "summed_loss"]


def summed_loss(model: GPT2, blocks: Tensor) -> Tensor:
    """Summed negative log-likelihood of blocks (n, T + 1) without `IGNORED` targets; softmax in float32."""
    logits = model(blocks[:, :-1].clamp(min=0)).flatten(0, 1).float()
    return F.cross_entropy(logits, blocks[:, 1:].flatten(), reduction="sum", ignore_index=IGNORED)


def compiled_loss() -> Callable[[GPT2, Tensor], Tensor]:
    """`summed_loss` through torch.compile, whose backward pass is compiled with it.

    Each call compiles a code object of its own: torch.compile keeps at most eight variants of one and then
    falls back to eager without an error, which would slow down the ninth model size of a scaling study.
    """
    assert isinstance(summed_loss, types.FunctionType)
    own = types.FunctionType(summed_loss.__code__.replace(), summed_loss.__globals__, summed_loss.__name__)
    compiled: Callable[[GPT2, Tensor], Tensor] = torch.compile(own, dynamic=False)
    return compiled
