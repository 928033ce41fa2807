"""The control library of `nsm`: every weight matrix is one of M random crystals, beside the same
discrete genes."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from clso.crystals import CrystalLibrary
from clso.models.gpt2 import GPT2Config
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.nsm_mixer import GATES
from clso.search_spaces.nsm.costs import nsm_costs
from clso.search_spaces.nsm.genes import CHUNKS, STATES, TOP_K, head_counts
from clso.search_spaces.nsm.wiring import plain_nsm
from clso.space import Gene, Genome

__all__ = ["RandomNSM"]


class RandomNSM:
    """Genes of sizes, then one for each slot, one allele a crystal. Slots of one shape share the
    crystals.

    A gate's slots have an LSTM's four parts, of which a GRU takes the first three. Norms are one,
    biases zero. With `n_classes` the model is a classifier and `head` is no slot if
    `fitted_head`: it is left zero."""

    def __init__(
        self,
        config: GPT2Config,
        library: CrystalLibrary,
        device: torch.device,
        *,
        n_classes: int = 0,
        fitted_head: bool = False,
    ) -> None:
        self.config, self.device, self._n_classes = config, device, n_classes
        self.library = library
        self._slots = _slots(config, n_classes)
        if fitted_head:
            del self._slots["head"]
        crystals = tuple(f"crystal-{i}" for i in range(library.size))
        self._sizes: dict[str, tuple[Any, ...]] = {
            "states": STATES,
            "heads": head_counts(config.d_model),
            "gate": GATES,
            "top_k": TOP_K,
            "chunk": CHUNKS,
        }
        sizes = (Gene(name, tuple(map(str, values))) for name, values in self._sizes.items())
        self.genes: tuple[Gene, ...] = (*sizes, *(Gene(name, crystals) for name in self._slots))

    def prepare(self) -> None:
        """Nothing: a crystal is built when a genome first picks it."""

    def seeds(self) -> list[Genome]:
        return []

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        return [*[None] * len(self._sizes), *map(self.library.descriptors, self._slots.values())]

    def final_model(self, genome: Genome) -> SimpleNSM:
        """The same model: random crystals know no text."""
        return self.model(genome)

    @torch.no_grad()
    def model(self, genome: Genome) -> SimpleNSM:
        """One genome as a float32 module on the search's device."""
        model = plain_nsm(self._nsm_config(genome))
        parameters = dict(model.named_parameters())
        alleles = self._alleles(genome)
        for slot, shape in self._slots.items():
            p = parameters[_parameter(slot)]
            p.copy_(self.library.dense(shape, alleles[slot])[: p.shape[0], : p.shape[1]])
        return model.to(self.device).eval()

    def costs(self, genome: Genome) -> dict[str, float]:
        """Of all layers, with their MLPs."""
        return nsm_costs(self._nsm_config(genome), self.config.n_layers, mlp=True)

    def _alleles(self, genome: Genome) -> dict[str, int]:
        return {gene.name: allele for gene, allele in zip(self.genes, genome, strict=True)}

    def _nsm_config(self, genome: Genome) -> NSMConfig:
        c, alleles = self.config, self._alleles(genome)
        size = {name: values[alleles[name]] for name, values in self._sizes.items()}
        return NSMConfig(
            c.vocab_size,
            c.d_model,
            c.n_layers,
            size["heads"],
            c.n_positions,
            self._n_classes,
            n_states=size["states"],
            gate=size["gate"],
            top_k=size["top_k"],
            chunk=size["chunk"],
        )


_NAMES = {
    "router": "mixer.token_maps.weight",
    "gate.in": "mixer.gate.cell.weight_ih",
    "gate.state": "mixer.gate.cell.weight_hh",
    "states": "mixer.initial",
    "talk": "mixer.state_maps.weight",
    "read": "mixer.out.weight",
    "mlp.in": "mlp.0.weight",
    "mlp.out": "mlp.2.weight",
}


def _parameter(slot: str) -> str:
    layer, _, name = slot.partition(".")
    return f"blocks.{layer}.{_NAMES[name]}" if layer.isdigit() else f"{slot}.weight"


def _slots(config: GPT2Config, n_classes: int) -> dict[str, tuple[int, int]]:
    d, v = config.d_model, config.vocab_size
    shapes = {
        "router": (4 * d, d),
        "gate.in": (4 * d, 2 * d),
        "gate.state": (4 * d, d),
        "states": (max(STATES), 2 * d),
        "talk": (3 * d, d),
        "read": (d, d),
        "mlp.in": (4 * d, d),
        "mlp.out": (d, 4 * d),
    }
    layers = {
        f"{i}.{name}": shape for i in range(config.n_layers) for name, shape in shapes.items()
    }
    return {"embedding": (v, d), **layers, "head": (n_classes or v, d)}
