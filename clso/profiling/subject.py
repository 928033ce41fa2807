"""What is measured: a model on its device with one fixed batch, in one micro-batch or several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.nn import functional as F

__all__ = ["MicroBatch", "Subject"]

MicroBatch = Callable[[], torch.Tensor]
"""Its share of the batch's mean loss: one forward pass."""
_RATE = 1e-4  # of the step that is timed; what it learns is nobody's business


@dataclass(frozen=True)
class Subject:
    """A model with tokens (batch, length), targets as `loss` takes them, and an optimizer if whole steps are measured."""

    model: nn.Module
    tokens: torch.Tensor
    targets: torch.Tensor
    optimizer: torch.optim.Optimizer | None = field(default=None, kw_only=True)

    @classmethod
    def draw(
        cls, model: nn.Module, batch: int, length: int, vocab_size: int, n_classes: int, seed: int
    ) -> Subject:
        """Uniform tokens from `seed`, on the model's device; a language model's targets are the tokens that follow."""
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(vocab_size, (batch, length + 1), generator=generator)
        targets = (
            torch.randint(n_classes, (batch,), generator=generator)
            if n_classes
            else tokens[:, 1:].contiguous()
        )
        return cls(model, tokens[:, :-1].contiguous().to(device), targets.to(device))

    @staticmethod
    def adamw(model: nn.Module) -> torch.optim.Optimizer:
        """The optimizer of a measured step: fused AdamW."""
        return torch.optim.AdamW(model.parameters(), lr=_RATE, fused=True)

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    def loss(self) -> torch.Tensor:
        """The mean cross-entropy in nats: the forward pass."""
        logits: torch.Tensor = self.model(self.tokens)
        return F.cross_entropy(logits.flatten(0, -2), self.targets.flatten())

    def micro_batches(self) -> Sequence[MicroBatch]:
        """In turn; their losses add up to the batch's mean, and so do their gradients."""
        return [self.loss]

    def stated_flops(self) -> int | None:
        """Of the batch's forward pass, by the model's own formula; None if it states none."""
        formula = getattr(self.model, "forward_flops", None)
        batch, length = self.tokens.shape
        return None if formula is None else batch * int(formula(length))

    def step(self) -> None:
        """One step of the optimizer, if there is one."""
        if self.optimizer is not None:
            self.optimizer.step()

    def clear(self) -> None:
        """Drop the gradients, so that every pass allocates its own."""
        self.model.zero_grad(set_to_none=True)

    def held(self) -> list[torch.Tensor]:
        """What is alive before a pass."""
        return [*self.model.parameters(), *self.model.buffers(), self.tokens, self.targets]
