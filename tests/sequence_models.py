"""Real models of known cost, which tests profile as FILE.py:CLASS. Every figure can be worked out
by hand."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F


@dataclass(frozen=True)
class SequenceConfig:
    vocab_size: int
    d_model: int = 64
    n_layers: int = 2
    n_heads: int = 4
    n_positions: int = 1024
    n_classes: int = 0


class _Sequence(nn.Module):
    Config = SequenceConfig

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.d_model)
        self.head = nn.Linear(config.d_model, config.n_classes or config.vocab_size, bias=False)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return x

    def body_flops(self, n_tokens: int) -> int:
        return 0

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        x = self.body(self.embedding(tokens))
        return self.head(x.mean(1) if self.config.n_classes else x)

    def forward_flops(self, n_tokens: int) -> int:
        c = self.config
        return self.body_flops(n_tokens) + 2 * c.d_model * (c.n_classes or c.vocab_size * n_tokens)

    def init_weights(self, generator: torch.Generator) -> _Sequence:
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(0, 0.02, generator=generator)
        return self


class Bigram(_Sequence):
    """Embedding and head alone: 2 V d parameters."""

    name = "bigram"


class Lstm(_Sequence):
    name = "lstm"

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        self.layers = nn.LSTM(config.d_model, config.d_model, config.n_layers, batch_first=True)

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)[0]

    def body_flops(self, n_tokens: int) -> int:
        return 2 * n_tokens * self.config.n_layers * 8 * self.config.d_model**2


class Transformer(_Sequence):
    """Fused attention, whose memory is linear in the length."""

    name = "transformer"
    fused = True

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        d = config.d_model
        self.qkv = nn.ModuleList(nn.Linear(d, 3 * d, bias=False) for _ in range(config.n_layers))
        self.out = nn.ModuleList(nn.Linear(d, d, bias=False) for _ in range(config.n_layers))

    def body(self, x: torch.Tensor) -> torch.Tensor:
        b, n, d = x.shape
        h = self.config.n_heads
        for qkv, out in zip(self.qkv, self.out, strict=True):
            q, k, v = qkv(x).view(b, n, 3, h, d // h).permute(2, 0, 3, 1, 4)
            if self.fused:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = (q @ k.transpose(-1, -2) / (d // h) ** 0.5).masked_fill(
                    torch.ones(n, n, dtype=torch.bool, device=x.device).triu(1), float("-inf")
                )
                y = scores.softmax(-1) @ v
            x = x + out(y.transpose(1, 2).reshape(b, n, d))
        return x

    def body_flops(self, n_tokens: int) -> int:
        d = self.config.d_model
        return self.config.n_layers * (8 * n_tokens * d**2 + 4 * n_tokens**2 * d)


class FullAttention(Transformer):
    """The same with its scores written out: memory grows with the square of the length."""

    name = "full-attention"
    fused = False


class NoFormula(nn.Module):
    """A model without forward_flops, init_weights or name."""

    Config = SequenceConfig

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__()
        self.table = nn.Embedding(config.vocab_size, config.vocab_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.table(tokens)


class Failing(_Sequence):
    """Refuses long sequences."""

    name = "failing"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > 32:
            raise RuntimeError("too long for me")
        return x


class Slow(_Sequence):
    """Takes the cube of the length: 0.02 s for 16 tokens."""

    name = "slow"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        time.sleep(0.02 * (x.shape[1] / 16) ** 3)
        return x


class Greedy(_Sequence):
    """Asks for far more memory than any budget."""

    name = "greedy"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return x + torch.zeros(x.shape[1], 1 << 40, device=x.device)[0, :1]


class Stopping(_Sequence):
    """Somebody presses Ctrl-C during a long sequence."""

    name = "stopping"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > 32:
            raise KeyboardInterrupt
        return x


class Killing(_Sequence):
    """The process is killed during a long sequence."""

    name = "killing"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        if x.shape[1] > 32:
            os.kill(os.getpid(), signal.SIGKILL)
        return x


class Spectral(_Sequence):
    """It mixes tokens by a Fourier transform, whose FLOPs nobody counts."""

    name = "spectral"

    def body(self, x: torch.Tensor) -> torch.Tensor:
        return torch.fft.fft(torch.complex(x, torch.zeros_like(x)), dim=1).real


class NotAModel:
    Config = SequenceConfig
