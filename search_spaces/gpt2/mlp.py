"""MLP crystals of the grown `gpt2` space: hidden units next to the two that layer 1's MLP has
anyway."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.models.gpt2 import GPT2
from clso.models.population import PopulationGPT2

__all__ = ["HiddenUnits", "PopulationWithUnits"]

_LAYER = "h.1"


@dataclass(frozen=True)
class HiddenUnits:
    """Units of the candidates `members` (M,): `fc` (M, H, d), `bias` (M, H) and `proj` (M, d, H),
    physical coordinates."""

    members: Tensor
    fc: Tensor
    bias: Tensor
    proj: Tensor


@dataclass(frozen=True)
class PopulationWithUnits(PopulationGPT2):
    """A population some of whose candidates have further units in layer 1's MLP.

    An MLP is a sum over its units, so these are computed apart, for their candidates alone: the
    others pay nothing, and no candidate's arithmetic depends on who shares the batch."""

    units: HiddenUnits | None = None

    def single(self, candidate: int) -> GPT2:
        model = super().single(candidate)
        units = self.units
        if units is not None and candidate in (members := units.members.tolist()):
            i, start = members.index(candidate), self.params[f"{_LAYER}.mlp.fc.weight"].shape[1]
            # which shares the model's memory
            state, rows = (
                model.state_dict(),
                slice(start, start + units.fc.shape[1]),
            )
            state[f"{_LAYER}.mlp.fc.weight"][rows] = units.fc[i].cpu()
            state[f"{_LAYER}.mlp.fc.bias"][rows] = units.bias[i].cpu()
            state[f"{_LAYER}.mlp.proj.weight"][:, rows] = units.proj[i].cpu()
        return model

    def _mlp(self, x: Tensor, layer: str) -> Tensor:
        out = super()._mlp(x, layer)
        if self.units is not None and layer == _LAYER:
            out[self.units.members] += self._units_output(
                self.units, x[self.units.members], self.params
            )
        return out

    @staticmethod
    def _units_output(units: HiddenUnits, x: Tensor, params: Mapping[str, Tensor]) -> Tensor:
        y = (
            F.layer_norm(x, (x.shape[-1],))
            * params[f"{_LAYER}.ln_2.weight"][units.members][:, None]
        )
        y = F.gelu(
            torch.baddbmm(units.bias[:, None], y, units.fc.transpose(1, 2)), approximate="tanh"
        )
        return torch.bmm(y, units.proj.transpose(1, 2))
