"""Grown weights: genomes -> true GPT-2 weights out of closed-form parts, for a whole population at
once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clso.device import sent
from clso.errors import ConfigError
from clso.grown.layout import rotation
from clso.grown.names import projection
from clso.models.population import PopulationGPT2
from clso.models.replay import Replays
from clso.search_spaces.gpt2.assembly import Assembly, head_basis, head_width, values_of
from clso.search_spaces.gpt2.crystals import GrownCrystals
from clso.search_spaces.gpt2.genes import (
    GAIN_VALUES,
    MLP_GAIN_VALUES,
    MLPS,
    NEURON_SHARES,
    alleles_of,
    default_genome,
    grown_genes,
)
from clso.search_spaces.gpt2.grown_costs import GrownCosts, n_neurons
from clso.search_spaces.gpt2.mlp import HiddenUnits
from clso.search_spaces.gpt2.neurons import (
    Chosen,
    Neurons,
    PopulationWithNeurons,
)
from clso.search_spaces.gpt2.template import Template
from clso.space import Genome
from clso.space.language import LanguageModelSpace

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11 on

__all__ = ["GrownWeights"]


class GrownWeights:
    """Crystals grown from one split of a corpus, and populations assembled from them."""

    def __init__(
        self,
        space: LanguageModelSpace,
        split: str = "statistics",
        *,
        mlp: bool = False,
        neurons: bool = False,
        contexts: Sequence[int] | None = None,
        most_neurons: int | None = None,
    ) -> None:
        """With `mlp` there are genes for hidden units of an MLP, with `neurons` one for those of pairs. `contexts` are the
        context patterns that genomes may pick, all by default, and `most_neurons` how many neurons genomes have at
        most, by default as many as there is room for."""
        self.space, self.config = space, space.config
        self.device = torch.device(space.context.device)
        if self.config.n_layers < 2 or self.config.n_heads < 2 or self.config.d_model < 32:
            raise ConfigError(
                "grown GPT-2 weights need 2 layers, 2 heads and 32 dimensions at least",
                got=(self.config.n_layers, self.config.n_heads, self.config.d_model),
                remedy="Use larger sizes"
                + (", or --library random." if hasattr(space.options, "library") else "."),
            )
        self._mlp, self._with_neurons = mlp, neurons
        self.genes = grown_genes(self.config, mlp, neurons)
        most = n_neurons(1.0, self.config) if most_neurons is None else most_neurons
        self.crystals = GrownCrystals(space, split, contexts, most if neurons else 0)
        self.costs = GrownCosts(
            self.config,
            self.crystals.layout,
            self.crystals.patterns,
            lambda: len(self.crystals.remembered[0]) if neurons else 0,
        )
        self._replays = Replays(self._scores, head_width(self.crystals.layout, self.device))

    @cached_property
    def template(self) -> Template:
        """The wiring, which all candidates share."""
        layout = self.crystals.layout
        return Template(
            self.config,
            layout,
            projection(layout.identity, layout.match),
            self.crystals.patterns,
            self.device,
        )

    @cached_property
    def neurons(self) -> Neurons | None:
        """Units of the pairs that are remembered; None if genomes have no gene for them."""
        crystals = self.crystals
        if not self._with_neurons:
            return None
        return Neurons(*crystals.remembered, crystals.names, crystals.corrections, self.template)

    @cached_property
    def rotation(self) -> Tensor:
        """From logical to physical coordinates, and back."""
        return rotation(self.config.d_model, self.device)

    @cached_property
    def _head_basis(self) -> Tensor:
        return head_basis(self.crystals.layout, self.rotation)

    def prepare(self) -> None:
        """Grow what the default genome needs; the rest follows when the search asks for it."""
        self.population(self.seeds())

    def seeds(self) -> list[Genome]:
        return [default_genome(self._mlp, self._with_neurons)]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Gains tell the surrogate their value and its square; structure genes are one-hot only."""
        gains = {**GAIN_VALUES, "mlp.gain": MLP_GAIN_VALUES, "neurons": NEURON_SHARES}
        out: list[np.ndarray[Any, Any] | None] = []
        for gene in self.genes:
            values = np.array(gains.get(gene.name, ()), dtype=np.float32)
            out.append(np.stack([values, values**2], axis=1) if len(values) else None)
        return out

    def decode(self, genome: Genome) -> dict[str, str]:
        return {gene.name: gene.choices[a] for gene, a in zip(self.genes, genome, strict=True)}

    def on_all_text(self, genome: Genome) -> Self:
        """What the genome needs, grown on statistics and fitness text together."""
        alleles = alleles_of(genome)
        whole = type(self)(
            self.space,
            "train",
            mlp=self._mlp,
            neurons=self._with_neurons,
            contexts=[alleles["context"]],
            most_neurons=n_neurons(NEURON_SHARES[alleles["neurons"]], self.config),
        )
        whole.template, whole.rotation = self.template, self.rotation  # which know no text
        return whole

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        """Weights of the genomes, stacked."""
        values = sent(torch.from_numpy(self._values(genomes)), self.device)
        return self._population(values, self._units(genomes))

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        """Mean loss of each genome on shared blocks: (P,) float64."""
        if self._mlp:
            return self.population(genomes).losses(blocks)
        return self._replays(self._values(genomes), blocks)

    def _values(self, genomes: Sequence[Genome]) -> np.ndarray[Any, Any]:
        """Rows of `values_of`, for which everything is grown."""
        self.crystals.grow(alleles_of(g)["codes"] for g in genomes)
        return values_of(genomes, self.crystals)

    def _scores(self, values: Tensor, blocks: Tensor) -> Tensor:
        return self._population(values).losses(blocks)

    def _population(self, values: Tensor, units: HiddenUnits | None = None) -> PopulationGPT2:
        assembly = Assembly(self.crystals, self.template, self.rotation, self._head_basis, values)
        neurons = self.neurons
        chosen = None
        if neurons is not None and len(neurons):
            used = (assembly.gain["neurons"] * n_neurons(1.0, self.config)).round()
            chosen = Chosen(
                neurons,
                used.clamp(max=len(neurons)).long(),
                assembly.family,
                assembly.gain["temperature"],
            )
        return PopulationWithNeurons(
            self.config, assembly, assembly, assembly.params(), units, chosen
        )

    def _units(self, genomes: Sequence[Genome]) -> HiddenUnits | None:
        """The MLP crystals of those candidates that have any."""
        having = {i: a for i, a in enumerate(map(alleles_of, genomes)) if MLPS[a["mlp"]][1]}
        if not having:
            return None
        keys = [(a["codes"], a["context"], a["mlp"]) for a in having.values()]
        distinct = sorted(set(keys))
        fc, bias, proj = [], [], []
        for family, context, mlp in distinct:
            features, fitted = self.crystals.units(family, context, mlp)
            rows, columns = self.template.hidden_units(features.weight, fitted)
            fc.append(rows)
            bias.append(features.bias)
            proj.append(columns)
        index = torch.tensor([distinct.index(key) for key in keys], device=self.device)
        temperature, gain = (
            torch.tensor([values[a[name]] for a in having.values()], device=self.device)
            for name, values in (
                ("temperature", GAIN_VALUES["temperature"]),
                ("mlp.gain", MLP_GAIN_VALUES),
            )
        )
        temperature, gain = temperature[:, None, None], gain[:, None, None]  # (M, 1, 1)
        # The stream holds codes times the temperature; the units read and were fitted on plain
        # codes.
        return HiddenUnits(
            torch.tensor(list(having), device=self.device),
            torch.stack(fc)[index] / temperature,  # (M, H, d)
            torch.stack(bias)[index],  # (M, H)
            torch.stack(proj)[index] * (gain * temperature),  # (M, d, H)
        )
