"""A causal Transformer (Vaswani et al. 2017; pre-norm) on torch's fused attention: linear memory,
quadratic time."""

from __future__ import annotations

from clso.models.layers import CausalAttention, Layer, ResidualBlock
from clso.models.sequence import StackedModel

__all__ = ["Transformer"]


class Transformer(StackedModel):
    """`n_layers` blocks of causal attention and a GELU layer, with sinusoidal positions."""

    name = "transformer"
    capturable = True

    def block(self, layer: int) -> Layer:
        return ResidualBlock(
            self.config.d_model, CausalAttention(self.config.d_model, self.config.n_heads)
        )
