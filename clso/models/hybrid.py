"""Hybrids of attention, a selective state space, a neural Turing memory and an LSTM."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from clso.models.layers import CausalAttention, Layer, LSTMLayer
from clso.models.selective import SelectiveSSM
from clso.models.sequence import SequenceConfig, SequenceModel, StackedModel
from clso.models.turing import TuringMemory

__all__ = ["AdvancedHybrid", "HybridConfig", "SequentialHybrid"]


@dataclass(frozen=True)
class HybridConfig(SequenceConfig):
    """`d_state` states a channel of the state space; `n_slots` memory vectors, addressed once in
    `chunk` tokens."""

    d_state: int = 16
    n_slots: int = 16
    chunk: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("d_state", "n_slots", "chunk"):
            self.require_at_least(1, name)


class Stages(Layer):
    """Attention, state space, memory, LSTM, each on the norm of the one before; `residual` adds
    each to its input."""

    def __init__(self, config: HybridConfig, *, residual: bool, lstm_layers: int) -> None:
        super().__init__()
        d = config.d_model
        self.residual = residual
        self.stages = nn.ModuleList(
            (
                CausalAttention(d, config.n_heads),
                SelectiveSSM(d, config.d_state),
                TuringMemory(d, config.n_slots, config.chunk),
                LSTMLayer(d, lstm_layers),
            )
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d) for _ in self.stages)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(x)[0]

    def run(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Outputs (B, T, d) and the memory's read and write addresses (B, T, n_slots)."""
        addresses: list[Tensor] = []
        for norm, stage in zip(self.norms, self.stages, strict=True):
            if isinstance(stage, TuringMemory):
                y, *addresses = stage.run(norm(x))
            else:
                y = stage(norm(x))
            x = x + y if self.residual else y
        return x, addresses[0], addresses[1]

    def flops(self, n_tokens: int) -> int:
        return sum(stage.flops(n_tokens) for stage in self.stages if isinstance(stage, Layer))


class AdvancedHybrid(SequenceModel):
    """Embedding, causal attention, selective state space, Turing memory, LSTM of `n_layers`,
    output: one of each, in a row.

    Its attention makes it quadratic in time; memory is linear.
    """

    name = "advanced-hybrid"
    capturable = True
    Config = HybridConfig
    config: HybridConfig

    def __init__(self, config: HybridConfig) -> None:
        super().__init__(config)
        self.stages = Stages(config, residual=False, lstm_layers=config.n_layers)

    def body(self, x: Tensor) -> Tensor:
        out: Tensor = self.stages(x)
        return out

    def body_flops(self, n_tokens: int) -> int:
        return self.stages.flops(n_tokens)

    @torch.no_grad()
    def trace(self, tokens: Tensor) -> dict[str, Tensor]:
        """The memory's addresses: `reading` and `routing` (where a token is written), (1, B, 1, T,
        n_slots)."""
        return _addresses([self.stages], self.embed(tokens))


class SequentialHybrid(StackedModel):
    """`n_layers` times attention, state space, memory and a one-layer LSTM, each added to its
    input."""

    name = "sequential-hybrid"
    capturable = True
    Config = HybridConfig
    config: HybridConfig

    def block(self, layer: int) -> Layer:
        return Stages(self.config, residual=True, lstm_layers=1)

    @torch.no_grad()
    def trace(self, tokens: Tensor) -> dict[str, Tensor]:
        """The memories' addresses: `reading` and `routing` (where a token is written), (n_layers,
        B, 1, T, n_slots)."""
        return _addresses(list(self.blocks), self.embed(tokens))


def _addresses(stacks: list[nn.Module], x: Tensor) -> dict[str, Tensor]:
    reading, writing = [], []
    for stack in stacks:
        assert isinstance(stack, Stages)
        x, read, written = stack.run(x)
        reading.append(read)
        writing.append(written)
    return {
        "reading": torch.stack(reading)[:, :, None],
        "routing": torch.stack(writing)[:, :, None],
    }
