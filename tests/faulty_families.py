"""Families of models as a user may get them wrong; loaded as plugins, by FILE.py:NAME."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Sizes:
    vocab_size: int
    n_positions: int
    d_model: int = 8
    n_layers: int = 1
    n_heads: int = 1
    n_classes: int = 0


class _Family(nn.Module):
    Config = Sizes

    def __init__(self, config: Sizes) -> None:
        super().__init__()
        self.config = config
        self.codes = nn.Embedding(config.vocab_size, config.n_classes or config.vocab_size)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return self.codes(tokens).mean(1)


class Raises(_Family):
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        raise ValueError("a mistake")


class Exits(_Family):
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        sys.exit(3)


class Tuples(_Family):
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(tokens), tokens


class Detached(_Family):
    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return super().forward(tokens).detach()


class WithoutWeights(_Family):
    def __init__(self, config: Sizes) -> None:
        nn.Module.__init__(self)
        self.config = config

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Any:
        return torch.zeros(len(tokens), self.config.n_classes)


class WithoutConfig(nn.Module):
    pass


class WithoutFields(nn.Module):
    class Config:
        pass
