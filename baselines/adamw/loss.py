"""The loss that is trained on, and its compiled form."""

from __future__ import annotations

import types
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.baselines.adamw.batches import IGNORED
from clso.models.gpt2 import GPT2

__all__ = ["Loss", "compiled_loss", "summed_loss"]


Loss = Callable[[GPT2, Tensor, int], Tensor]


def summed_loss(model: GPT2, blocks: Tensor, multiple: int) -> Tensor:
    """Summed negative log-likelihood of blocks (n, T + 1) without `IGNORED` targets; softmax in
    float32.

    The head gets zero rows up to a multiple of `multiple`, whose logits are cut off again: the
    products with a vocabulary of 50257, an odd number, would miss the aligned tensor-core kernels.
    """
    hidden = model.hidden(blocks[:, :-1].clamp(min=0)).flatten(0, 1)
    weight, vocab_size = model.head.weight, model.config.vocab_size
    if vocab_size % multiple:
        weight = F.pad(weight, (0, 0, 0, -vocab_size % multiple))
    logits = F.linear(hidden, weight)[:, :vocab_size].float()
    return F.cross_entropy(logits, blocks[:, 1:].flatten(), reduction="sum", ignore_index=IGNORED)


def compiled_loss() -> Loss:
    """`summed_loss` through torch.compile, whose backward pass is compiled with it.

    Each call compiles a code object of its own: torch.compile keeps at most eight variants of one
    and then falls back to eager without an error, which would slow down the ninth model size of a
    scaling study."""
    assert isinstance(summed_loss, types.FunctionType)
    own = types.FunctionType(
        summed_loss.__code__.replace(), summed_loss.__globals__, summed_loss.__name__
    )
    compiled: Loss = torch.compile(own, dynamic=False, fullgraph=True)
    return compiled
