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

from clso.grown.layout import Layout
from clso.models.head_loss import fused_width
from clso.models.tables import Embeddings, Heads
from clso.search_spaces.gpt2.crystals import GrownCrystals
from clso.search_spaces.gpt2.genes import GAIN_VALUES, NEURON_SHARES, gene_names
from clso.search_spaces.gpt2.template import NAME_SCALE, Template
from clso.space import Genome

__all__ = ["Assembly", "head_basis", "head_width", "values_of"]

_COLUMNS = ("codes", "context", *GAIN_VALUES, "mean_rarity", "neurons")
_GAINS = {name: np.array(values) for name, values in GAIN_VALUES.items()}

Floats = npt.NDArray[np.float32]


def values_of(genomes: Sequence[Genome], crystals: GrownCrystals) -> Floats:
    """What an assembly needs of P genomes, a row each (P, columns): code family, context, the value
    of each gain gene, the mean rarity, and the share of neurons. Neurons know names at one size, so those of a genome that
    has any do not follow rarity."""
    names = gene_names(len(genomes[0]))
    alleles = dict(zip(names, np.array(genomes).T, strict=True))  # (P,) each
    neurons = np.array(NEURON_SHARES)[alleles.get("neurons", np.zeros(len(genomes), dtype=int))]
    columns = {
        "codes": alleles["codes"],
        "context": alleles["context"],
        **{name: values[alleles[name]] for name, values in _GAINS.items()},
        "mean_rarity": np.array(crystals.mean_rarity)[alleles["rarity.half_count"]],
        "neurons": neurons,
    }
    columns["copy.rare_value"] = np.where(neurons > 0, 0.0, columns["copy.rare_value"])
    return np.stack([columns[name] for name in _COLUMNS], axis=1).astype(np.float32)


def head_width(layout: Layout, device: torch.device) -> int:
    """Columns q of an output table: a constant, the code and the names, and on a GPU zeros up to a
    width that its kernel takes."""
    return fused_width(1 + layout.code + layout.identity, device)


def head_basis(layout: Layout, rotation: Tensor) -> Tensor:
    """The axes of an output table's columns (d, q)."""
    code_and_names = slice(layout.code_dims.start, layout.identity_dims.stop)
    read = torch.cat([rotation[:, layout.one, None], rotation[:, code_and_names]], dim=1)
    spare = head_width(layout, rotation.device) - read.shape[1]
    return torch.nn.functional.pad(read, (0, spare)).contiguous()


class Assembly(Embeddings, Heads):
    """P candidates; output tables on the axes that they read (`head_basis`)."""

    def __init__(
        self,
        crystals: GrownCrystals,
        template: Template,
        rotation: Tensor,
        basis: Tensor,
        values: Tensor,
    ) -> None:
        """`basis` as `head_basis` gives it, `values` (P, columns) on the device, rows of
        `values_of`."""
        self.crystals, self.template, self._rotation = crystals, template, rotation
        self.basis, self._width = basis, basis.shape[1]
        self._distinct: dict[torch.dtype, Tensor] = {}
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
            self.crystals.reads[self.family, self.context],
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
        out[..., layout.ballast] = (
            (self.template.own_norm**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        )
        return out @ self._rotation.T

    def distinct(self, dtype: torch.dtype) -> Tensor:
        """Output tables (P, V, q) in the basis; formed once, for a text has many blocks."""
        if dtype not in self._distinct:
            self._distinct[dtype] = self._tables(dtype)
        return self._distinct[dtype]

    def _tables(self, dtype: torch.dtype) -> Tensor:
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        read = 1 + layout.code + layout.identity
        out = torch.empty(*self.rarity.shape, self._width, dtype=dtype, device=self.rarity.device)
        # The bias (P, V); ln_f's bias is all ones: sqrt(d) along this direction.
        bias = crystals.log_p[self.family] + gain["bias.rarity"][:, None] * self.rarity
        out[:, :, 0] = (bias / math.sqrt(layout.d_model)).to(dtype)
        # The target codes (P, V, K) read what the stream's code says.
        out[:, :, 1 : 1 + layout.code] = crystals.b.to(dtype)[self.family]
        # The names (P, V, D) read what was copied, rare tokens more strongly.
        boost = torch.exp(gain["copy.rare_boost"][:, None] * self.rarity).to(dtype)
        names = out[:, :, 1 + layout.code : read]
        torch.mul(crystals.names.to(dtype), boost[..., None], out=names)
        out[:, :, read:] = 0
        return out
