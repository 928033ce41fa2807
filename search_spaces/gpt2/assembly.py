"""From genes to weights of the grown `gpt2` space: a batch of candidates, any mix of alleles, in
device arithmetic alone.

Nothing here waits for the host, so that scoring a batch can be captured as a CUDA graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from clso.models.tables import Embeddings, Heads
from clso.search_spaces.gpt2.crystals import GrownCrystals
from clso.search_spaces.gpt2.genes import GAINS
from clso.search_spaces.gpt2.template import NAME_SCALE, NORM, Template
from clso.space import Genome

__all__ = ["Assembly", "values_of"]

_MOST = max(map(len, GAINS.values()))
_LADDERS = np.array([(*ladder, *[np.nan] * (_MOST - len(ladder))) for ladder in GAINS.values()])
_HALF_COUNT = list(GAINS).index("rarity.half_count")

Floats = npt.NDArray[np.float32]


def values_of(genomes: Sequence[Genome], crystals: GrownCrystals) -> Floats:
    """What an assembly needs of genomes: code family, context, the value of each gain gene, and the
    mean rarity."""
    picks = np.array(genomes)[:, : 2 + len(GAINS)]
    values = np.empty((len(picks), 3 + len(GAINS)), dtype=np.float32)
    values[:, :2], values[:, 2:-1] = picks[:, :2], _LADDERS[np.arange(len(GAINS)), picks[:, 2:]]
    values[:, -1] = [crystals.mean_rarity[knee] for knee in picks[:, 2 + _HALF_COUNT]]
    return values


class Assembly(Embeddings, Heads):
    """P candidates; tables in logical coordinates, of which `basis` is the way back to physical
    ones."""

    def __init__(
        self, crystals: GrownCrystals, template: Template, rotation: Tensor, values: Tensor
    ) -> None:
        """`values` (P, 3 + number of gain genes) on the device, rows of `values_of`."""
        self.crystals, self.template, self._rotation = crystals, template, rotation
        self.basis = rotation
        self.family, self.context = values[:, 0].long(), values[:, 1].long()
        self.gain = dict(zip(GAINS, values[:, 2:-1].T, strict=True))
        self.rarity = (
            -torch.log1p(crystals.row / self.gain["rarity.half_count"][:, None]) - values[:, -1:]
        )
        self.index = torch.arange(len(values), device=values.device)

    def __len__(self) -> int:
        return len(self.family)

    def params(self) -> dict[str, Tensor]:
        """Everything but the tables, by the names of `GPT2.state_dict()`."""
        gain = self.gain
        return self.template.weights(
            self.context,
            gain["context.gain"][:, None, None] * self.crystals.maps[self.family, self.context],
            match=gain["copy.match"],
            salience=gain["copy.salience"],
            sink=gain["copy.sink"],
            copy=gain["copy.gain"],
        )

    def rows(self, tokens: Tensor) -> Tensor:
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        family, token = self.family[:, None], tokens[None, :]
        rarity = self.rarity[:, tokens]
        expected = crystals.expected[family, self.context[:, None], token]
        out = torch.zeros(*rarity.shape, layout.d_model, device=rarity.device)
        code = crystals.a[family, token] - gain["context.gain"][:, None, None] * expected
        out[..., layout.code_dims] = gain["temperature"][:, None, None] * code
        value = NAME_SCALE * torch.exp(gain["copy.rare_value"][:, None] * rarity)
        out[..., layout.identity_dims] = crystals.names[tokens] * value[..., None]
        out[..., layout.rarity] = rarity
        out[..., layout.ballast] = (NORM**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        return out @ self._rotation.T

    def distinct(self, dtype: torch.dtype) -> Tensor:
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        out = torch.zeros(
            *self.rarity.shape, layout.d_model, dtype=dtype, device=self.rarity.device
        )
        out[:, :, layout.code_dims] = crystals.b.to(dtype)[self.family]
        boost = torch.exp(gain["copy.rare_boost"][:, None] * self.rarity).to(dtype)
        torch.mul(crystals.names.to(dtype), boost[..., None], out=out[:, :, layout.identity_dims])
        # ln_f's bias is all ones: sqrt(d) along this direction
        bias = crystals.log_p[self.family] + gain["bias.rarity"][:, None] * self.rarity
        out[:, :, layout.one] = (bias / math.sqrt(layout.d_model)).to(dtype)
        return out
