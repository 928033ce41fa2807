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
from clso.search_spaces.gpt2.genes import GAIN_VALUES, GENE_NAMES
from clso.search_spaces.gpt2.template import NAME_SCALE, NORM, Template
from clso.space import Genome

__all__ = ["Assembly", "values_of"]

_COLUMNS = ("codes", "context", *GAIN_VALUES, "mean_rarity")
_GAINS = {name: np.array(values) for name, values in GAIN_VALUES.items()}

Floats = npt.NDArray[np.float32]


def values_of(genomes: Sequence[Genome], crystals: GrownCrystals) -> Floats:
    """What an assembly needs of P genomes, a row each (P, columns): code family, context, the value
    of each gain gene, and the mean rarity."""
    alleles = dict(zip(GENE_NAMES, np.array(genomes).T, strict=False))  # (P,) each
    columns = {
        "codes": alleles["codes"],
        "context": alleles["context"],
        **{name: values[alleles[name]] for name, values in _GAINS.items()},
        "mean_rarity": np.array(crystals.mean_rarity)[alleles["rarity.half_count"]],
    }
    return np.stack([columns[name] for name in _COLUMNS], axis=1).astype(np.float32)


class Assembly(Embeddings, Heads):
    """P candidates; tables in logical coordinates, of which `basis` is the way back to physical
    ones."""

    def __init__(
        self, crystals: GrownCrystals, template: Template, rotation: Tensor, values: Tensor
    ) -> None:
        """`values` (P, columns) on the device, rows of `values_of`."""
        self.crystals, self.template, self._rotation = crystals, template, rotation
        self.basis = rotation
        self.gain = dict(zip(_COLUMNS, values.T, strict=True))  # (P,) each
        self.family, self.context = self.gain["codes"].long(), self.gain["context"].long()
        # (P, V): 0 for a typical token, more for a rare one
        half_count, mean = self.gain["rarity.half_count"], self.gain["mean_rarity"]
        self.rarity = -torch.log1p(crystals.row / half_count[:, None]) - mean[:, None]
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
        """Token vectors (P, N, d) of tokens (N,), in physical coordinates."""
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        family, context, token = self.family[:, None], self.context[:, None], tokens[None, :]
        rarity = self.rarity[:, tokens]  # (P, N)
        out = torch.zeros(*rarity.shape, layout.d_model, device=rarity.device)
        # The token's code (P, N, K), less what its context will add on average.
        expected = crystals.expected[family, context, token]
        code = crystals.a[family, token] - gain["context.gain"][:, None, None] * expected
        out[..., layout.code_dims] = gain["temperature"][:, None, None] * code
        # Its name (P, N, D): small, so that the output does not take it for a copied one.
        size = NAME_SCALE * torch.exp(gain["copy.rare_value"][:, None] * rarity)
        out[..., layout.identity_dims] = crystals.names[tokens] * size[..., None]
        out[..., layout.rarity] = rarity
        # Fill every vector up to one norm, so that LayerNorm's division is a constant (P, N).
        out[..., layout.ballast] = (NORM**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        return out @ self._rotation.T

    def distinct(self, dtype: torch.dtype) -> Tensor:
        """Output tables (P, V, d), in logical coordinates."""
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        out = torch.zeros(
            *self.rarity.shape, layout.d_model, dtype=dtype, device=self.rarity.device
        )
        # The target codes (P, V, K) read what the stream's code says.
        out[:, :, layout.code_dims] = crystals.b.to(dtype)[self.family]
        # The names (P, V, D) read what was copied, rare tokens more strongly.
        boost = torch.exp(gain["copy.rare_boost"][:, None] * self.rarity).to(dtype)
        torch.mul(crystals.names.to(dtype), boost[..., None], out=out[:, :, layout.identity_dims])
        # The bias (P, V); ln_f's bias is all ones: sqrt(d) along this direction.
        bias = crystals.log_p[self.family] + gain["bias.rarity"][:, None] * self.rarity
        out[:, :, layout.one] = (bias / math.sqrt(layout.d_model)).to(dtype)
        return out
