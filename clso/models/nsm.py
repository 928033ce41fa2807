"""SimpleNSM: a stack of Neural State Machine layers (`clso.models.nsm_mixer`), linear in time, with
constant state."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.models.layers import Layer, ResidualBlock
from clso.models.nsm_mixer import GATES, GateKind, Passage, StateMixer
from clso.models.sequence import SequenceConfig, StackedModel

__all__ = ["NSMConfig", "SimpleNSM"]


@dataclass(frozen=True)
class NSMConfig(SequenceConfig):
    """`n_states` states a layer, a `gate` each, updated once in `chunk` tokens; `top_k` 0 routes a
    token to every state."""

    n_states: int = 16
    gate: GateKind = "gru"
    top_k: int = 0
    chunk: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_at_least(1, "n_states")
        self.require_at_least(1, "chunk")
        if self.gate not in GATES:
            raise ConfigError(f"gate is one of {', '.join(GATES)}", got=self.gate)
        if not 0 <= self.top_k <= self.n_states:
            raise ConfigError(f"top_k is from 0 to n_states ({self.n_states})", got=self.top_k)


class SimpleNSM(StackedModel):
    """`n_layers` blocks of routed, gated, talking states and a GELU layer. `clso.models.nsm_states`
    adds and drops states."""

    name = "simple-nsm"
    capturable = True
    Config = NSMConfig
    config: NSMConfig

    def block(self, layer: int) -> Layer:
        c = self.config
        mixer = StateMixer(
            c.d_model, c.n_heads, c.n_states, gate=c.gate, top_k=c.top_k, chunk=c.chunk
        )
        return ResidualBlock(c.d_model, mixer)

    def mixers(self) -> list[StateMixer]:
        """The state mixers, by layer."""
        mixers = (block.mixer for block in self.blocks if isinstance(block, ResidualBlock))
        return [mixer for mixer in mixers if isinstance(mixer, StateMixer)]

    @torch.no_grad()
    def trace(self, tokens: Tensor) -> dict[str, Tensor]:
        """By layer (L first): `routing` and `reading` (L, B, heads, T, S), `states` (L, B, chunks +
        1, S, d_model) and `importance` (L, S), as in `Passage`. `clso.models.nsm_trace.summary`
        puts them into numbers."""
        passages: list[Passage] = []
        hooks = [
            m.register_forward_pre_hook(lambda m, x: passages.append(m.run(*x)))
            for m in self.mixers()
        ]
        try:
            self.body(self.embed(tokens))
        finally:
            for hook in hooks:
                hook.remove()
        found = {
            name: torch.stack([getattr(p, name) for p in passages])
            for name in ("routing", "reading", "states")
        }
        return {**found, "importance": torch.stack([m.weights_of_states() for m in self.mixers()])}
