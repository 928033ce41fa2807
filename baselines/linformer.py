"""Linformer (Wang et al. 2020, arXiv 2006.04768), in its causal form.

The paper projects the keys and values of all n tokens onto k slots, to which every token attends:
that sees the future. Here token t attends to the slots as tokens up to t have filled them, with the
same two learned (k, n) projections: the causal form of attention with bounded memory (Peng et al.
2022, arXiv 2110.02488). At the last token it is the paper's own attention. Time and memory are
linear in T: slots are carried from chunk to chunk, inside a chunk the products are taken as such.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clso.models.layers import Layer, ResidualBlock, in_chunks, merge_heads, split_heads
from clso.models.sequence import SequenceConfig, StackedModel

__all__ = ["Linformer", "LinformerConfig", "SlotAttention"]


@dataclass(frozen=True)
class LinformerConfig(SequenceConfig):
    """`n_slots` is the paper's k; slots are carried from `chunk` to `chunk`, which changes no
    result."""

    n_slots: int = 64
    chunk: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "n_slots")
        self.require_at_least(1, "chunk")


class SlotAttention(Layer):
    """Multi-head attention to `n_slots` projected keys and values; the projections are shared by
    the heads."""

    def __init__(
        self, d_model: int, n_heads: int, n_positions: int, n_slots: int, chunk: int
    ) -> None:
        super().__init__()
        self.d_model, self.n_heads, self.n_slots, self.chunk = d_model, n_heads, n_slots, chunk
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.key_slots = nn.Parameter(torch.zeros(n_slots, n_positions))
        self.value_slots = nn.Parameter(torch.zeros(n_slots, n_positions))
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor) -> Tensor:
        n_tokens = x.shape[1]
        maps = self.qkv(in_chunks(x, self.chunk))
        # (B, J, heads, c, d_head)
        q, k, v = (split_heads(m, self.n_heads) for m in maps.chunk(3, dim=-1))
        into_keys, into_values = (
            self._by_chunk(p, n_tokens) for p in (self.key_slots, self.value_slots)
        )
        # (B, J, heads, n_slots, d_head), of each chunk
        keys, values = (
            into_keys @ k,
            into_values @ v,
        )
        # of the chunks before it
        keys, values = (
            keys.cumsum(dim=1) - keys,
            values.cumsum(dim=1) - values,
        )
        near = (q @ k.transpose(-2, -1)).tril() @ into_keys.transpose(-2, -1)
        weights = torch.softmax((q @ keys.transpose(-2, -1) + near) * k.shape[-1] ** -0.5, dim=-1)
        y = weights @ values + (weights @ into_values).tril() @ v
        out: Tensor = self.out(merge_heads(y).flatten(1, 2)[:, :n_tokens])
        return out

    def _by_chunk(self, projection: Tensor, n_tokens: int) -> Tensor:
        """The part of a projection for `n_tokens`, (J, 1, n_slots, c)."""
        return in_chunks(projection.T[None, :n_tokens], self.chunk)[0].transpose(1, 2)[:, None]

    def flops(self, n_tokens: int) -> int:
        d, k, c = self.d_model, self.n_slots, self.chunk
        padded = n_tokens + -n_tokens % c
        return (
            padded * (6 * d * d + 8 * k * d + 4 * c * d + 4 * c * k * self.n_heads)
            + 2 * d * d * n_tokens
        )


class Linformer(StackedModel):
    """`n_layers` blocks of causal slot attention and a GELU layer, with sinusoidal positions."""

    name = "linformer"
    capturable = True
    Config = LinformerConfig
    config: LinformerConfig

    def block(self, layer: int) -> Layer:
        c = self.config
        mixer = SlotAttention(c.d_model, c.n_heads, c.n_positions, c.n_slots, c.chunk)
        return ResidualBlock(c.d_model, mixer)
