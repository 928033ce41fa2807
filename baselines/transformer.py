"""A causal Transformer (Vaswani et al. 2017; pre-norm) on torch's fused attention: linear memory, quadratic time."""

from __future__ import annotations

from torch import Tensor, nn

from clso.models.layers import CausalAttention, ResidualBlock
from clso.models.sequence import SequenceConfig, SequenceModel

__all__ = ["Transformer"]


class Transformer(SequenceModel):
    """`n_layers` blocks of causal attention and a GELU layer, with sinusoidal positions."""

    name = "transformer"

    def __init__(self, config: SequenceConfig) -> None:
        super().__init__(config)
        d, heads = config.d_model, config.n_heads
        self.blocks = nn.Sequential(*(ResidualBlock(d, CausalAttention(d, heads)) for _ in range(config.n_layers)))

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.blocks(x)
        return out

    def body_flops(self, n_tokens: int) -> int:
        d = self.config.d_model
        return self.config.n_layers * (CausalAttention.flops(d, n_tokens) + ResidualBlock.mlp_flops(d, n_tokens))
