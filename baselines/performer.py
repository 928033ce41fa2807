"""Performer (Choromanski et al. 2021, arXiv 2009.14794): FAVOR+ with positive orthogonal features,
causal by prefix sums.

Time and memory are linear in T: sums over whole chunks of tokens are carried, inside a chunk the
products are taken as such."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.models.layers import Layer, ResidualBlock, in_chunks, merge_heads, split_heads
from clso.models.sequence import SequenceConfig, StackedModel

__all__ = ["FavorAttention", "Performer", "PerformerConfig"]


@dataclass(frozen=True)
class PerformerConfig(SequenceConfig):
    """`n_features` random features a head; sums are carried from `chunk` to `chunk`, which changes
    no result."""

    n_features: int = 64
    chunk: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "n_features")
        self.require_at_least(1, "chunk")


class FavorAttention(Layer):
    """Causal attention with exp(q.k / sqrt(d)) replaced by phi(q).phi(k). The features are drawn
    once, not redrawn."""

    directions: Tensor

    def __init__(self, d_model: int, n_heads: int, n_features: int, chunk: int) -> None:
        super().__init__()
        self.d_model, self.n_heads, self.n_features, self.chunk = (
            d_model,
            n_heads,
            n_features,
            chunk,
        )
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.register_buffer("directions", torch.zeros(n_features, d_model // n_heads))

    def init_own(self, generator: torch.Generator) -> None:
        """Orthogonal in blocks of d_head, with the lengths of Gaussian vectors (section 2.4)."""
        n, d = self.directions.shape
        for block in torch.split(self.directions, d):
            nn.init.orthogonal_(block, generator=generator)
        self.directions *= torch.randn(n, d, generator=generator).norm(dim=1, keepdim=True)

    def features(self, x: Tensor, *, query: bool) -> Tensor:
        """phi(x) = exp(w.x - |x|^2 / 2) + 1e-6 (lemma 1), up to a factor that cancels: (...,
        d_head) -> (..., n_features).

        A query is scaled by its own largest feature. Keys have no common scale, for a maximum over
        time would let a token see later ones; they need none: an exponent is at most |w|^2 / 2,
        near d_head / 2."""
        exponent = x @ self.directions.T - x.square().sum(dim=-1, keepdim=True) / 2
        if query:
            exponent = exponent - exponent.detach().amax(dim=-1, keepdim=True)
        return exponent.exp() + 1e-6

    def forward(self, x: Tensor) -> Tensor:
        n_tokens = x.shape[1]
        maps = self.qkv(in_chunks(x, self.chunk))
        # (B, J, heads, c, d_head)
        q, k, v = (split_heads(m, self.n_heads) for m in maps.chunk(3, dim=-1))
        scale = (self.d_model // self.n_heads) ** -0.25
        q, k = self.features(q * scale, query=True), self.features(k * scale, query=False)
        v = F.pad(v, (0, 1), value=1.0)  # the last column sums the weights
        sums = k.transpose(-2, -1) @ v
        before = sums.cumsum(dim=1) - sums
        y = q @ before + (q @ k.transpose(-2, -1)).tril() @ v
        y = merge_heads(y[..., :-1] / y[..., -1:])
        out: Tensor = self.out(y.flatten(1, 2)[:, :n_tokens])
        return out

    def flops(self, n_tokens: int) -> int:
        d, m, c, heads = self.d_model, self.n_features, self.chunk, self.n_heads
        padded = n_tokens + -n_tokens % c
        attention = 4 * m * d + 2 * (2 * m + c) * (d + heads) + 2 * c * m * heads
        return padded * (6 * d * d + attention) + 2 * d * d * n_tokens


class Performer(StackedModel):
    """`n_layers` blocks of FAVOR+ attention and a GELU layer, with sinusoidal positions."""

    name = "performer"
    capturable = True
    Config = PerformerConfig
    config: PerformerConfig

    def block(self, layer: int) -> Layer:
        c = self.config
        return ResidualBlock(c.d_model, FavorAttention(c.d_model, c.n_heads, c.n_features, c.chunk))
