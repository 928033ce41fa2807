"""A small real sequence model, as a third party would write one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class RecurrentConfig:
    vocab_size: int
    d_model: int = 32
    n_layers: int = 1
    n_heads: int = 1
    n_positions: int = 1024
    n_classes: int = 0
    dropout: float = 0.0


class Recurrent(nn.Module):
    """Embedding, LSTM, and a head on the last token of a sequence, or on every one."""

    Config = RecurrentConfig

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.lstm = nn.LSTM(config.d_model, config.d_model, config.n_layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        self.head = nn.Linear(config.d_model, config.n_classes or config.vocab_size)

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator) -> None:
        for p in self.parameters():
            p.uniform_(-0.2, 0.2, generator=generator)

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        x = self.dropout(self.lstm(self.embedding(tokens))[0])
        if self.config.n_classes:
            x = x[torch.arange(len(x)), mask.sum(1) - 1]
        out: Tensor = self.head(x)
        return out


class Diverging(Recurrent):
    """Its logits are not numbers."""

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return super().forward(tokens, mask) * float("nan")
