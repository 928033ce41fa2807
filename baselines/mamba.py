"""Mamba (Gu and Dao 2023, arXiv 2312.00752), in plain torch: linear time, linear memory, constant
state."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from clso.models.layers import Layer
from clso.models.selective import SelectiveSSM
from clso.models.sequence import SequenceConfig, StackedModel

__all__ = ["Mamba", "MambaConfig"]


@dataclass(frozen=True)
class MambaConfig(SequenceConfig):
    """`d_state` states a channel. `n_heads` is not used: every channel is its own."""

    d_state: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "d_state")


class MambaBlock(Layer):
    """x + SSM(RMS norm(x)); parameters named as in `transformers.models.mamba`."""

    def __init__(self, config: MambaConfig) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(config.d_model, eps=1e-5)
        self.mixer = SelectiveSSM(config.d_model, config.d_state)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mixer(self.norm(x))
        return out

    def flops(self, n_tokens: int) -> int:
        return self.mixer.flops(n_tokens)


class Mamba(StackedModel):
    """`n_layers` Mamba blocks; the paper takes two of them for each block of a Transformer."""

    name = "mamba"
    capturable = True
    Config = MambaConfig
    positions = False
    config: MambaConfig

    def block(self, layer: int) -> Layer:
        return MambaBlock(self.config)
