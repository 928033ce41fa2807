"""What an NSM is left with if nothing that adds zero is computed."""

from __future__ import annotations

from torch import Tensor, nn

from clso.models.layers import Layer, ResidualBlock
from clso.models.nsm import SimpleNSM

__all__ = ["without_idle_parts"]


class MixerAlone(Layer):
    """x + mixer(norm(x))."""

    def __init__(self, block: ResidualBlock) -> None:
        super().__init__()
        self.norm, self.mixer = block.ln_1, block.mixer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.mixer(self.norm(x))
        return out


def without_idle_parts(model: SimpleNSM) -> SimpleNSM:
    """The model, changed in place: blocks and GELU layers whose last matrix is zero are gone, and
    its outputs are what they were."""
    live: list[nn.Module] = []
    for block, mixer in zip(model.blocks, model.mixers(), strict=True):
        assert isinstance(block, ResidualBlock)
        if not _is_zero(block.mlp[-1]):
            live.append(block)
        elif not _is_zero(mixer.out):
            live.append(MixerAlone(block))
    model.blocks = nn.ModuleList(live)
    return model


def _is_zero(layer: nn.Module) -> bool:
    return not any(bool(p.any()) for p in layer.parameters())
