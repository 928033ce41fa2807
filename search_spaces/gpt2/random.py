"""The control library: every weight matrix of GPT-2 is one of M random crystals.

This is the original idea of CLSO. It does not learn language (the loss stays near log(vocabulary));
it is kept so that the gain of grown crystals can be measured against it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.crystals import Crystal, CrystalLibrary
from clso.models.gpt2 import GPT2Config
from clso.models.population import PopulationGPT2
from clso.models.tables import BankedTables
from clso.search_spaces.gpt2.costs import Stored, model_costs, stored
from clso.space import Gene, Genome

__all__ = ["RandomWeights", "Slot"]


@dataclass(frozen=True)
class Slot:
    """A weight matrix that takes one crystal of its shape (d_out, d_in)."""

    name: str
    shape: tuple[int, int]


class RandomWeights:
    """One gene a slot, one allele a crystal. Slots of one shape share the crystals."""

    def __init__(self, config: GPT2Config, library: CrystalLibrary, device: torch.device) -> None:
        self.config, self.device = config, device
        self.library = library
        self.slots = _slots(config)
        labels = tuple(f"crystal-{i}" for i in range(library.size))
        self.genes = tuple(Gene(slot.name, labels) for slot in self.slots)
        self._costs: dict[tuple[tuple[int, int], int], Stored] = {}

    def prepare(self) -> None:
        """Build the small crystals; the vocabulary-sized ones are built when a genome first picks
        them."""
        for shape in dict.fromkeys(s.shape for s in self.slots if not _is_table(s.name)):
            self._bank(shape)

    def seeds(self) -> list[Genome]:
        return []

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        return [self.library.descriptors(slot.shape) for slot in self.slots]

    def decode(self, genome: Genome) -> dict[str, Crystal]:
        return {
            s.name: self.library.crystal(s.shape, a)
            for s, a in zip(self.slots, genome, strict=True)
        }

    def live_layers(self, genome: Genome) -> set[int]:
        """The layers whose attention adds anything."""
        values = {
            slot.name: self._cost(slot.shape, a) for slot, a in zip(self.slots, genome, strict=True)
        }
        gone = (
            any(values[f"h.{i}.attn.{m}"].zero for m in "vo") for i in range(self.config.n_layers)
        )
        return {i for i, is_gone in enumerate(gone) if not is_gone}

    def costs(
        self, genome: Genome, attention_flops: Sequence[float] | None = None
    ) -> dict[str, float]:
        """Costs by name; `attention_flops` as in `model_costs`."""
        slots = {
            s.name: ((s.shape, a), self._cost(s.shape, a))
            for s, a in zip(self.slots, genome, strict=True)
        }
        return model_costs(self.config, slots, trained=False, attention_flops=attention_flops)

    def on_all_text(self, genome: Genome) -> RandomWeights:
        """Random crystals know no text."""
        return self

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        return self.population(genomes).losses(blocks)

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        picks = torch.tensor(genomes, dtype=torch.long).reshape(len(genomes), len(self.slots))
        column = {slot.name: picks[:, i] for i, slot in enumerate(self.slots)}
        shape = {slot.name: slot.shape for slot in self.slots}
        stacked = {
            n: self._bank(shape[n])[i.to(self.device)]
            for n, i in column.items()
            if not _is_table(n)
        }
        params = {"wpe.weight": stacked["wpe"]}
        for i in range(self.config.n_layers):
            h = f"h.{i}"
            params[f"{h}.attn.qkv.weight"] = torch.cat(
                [stacked[f"{h}.attn.{m}"] for m in "qkv"], dim=1
            )
            for name in ("attn.o", "mlp.fc", "mlp.proj"):
                params[f"{h}.{name}.weight"] = stacked[f"{h}.{name}"]
        tables = {n: self._tables(shape[n], column[n]) for n in ("wte", "head")}
        return PopulationGPT2(self.config, tables["wte"], tables["head"], params)

    def _cost(self, shape: tuple[int, int], index: int) -> Stored:
        if (shape, index) not in self._costs:
            self._costs[shape, index] = stored(self.library.crystal(shape, index))
        return self._costs[shape, index]

    def _bank(self, shape: tuple[int, int]) -> Tensor:
        return self.library.bank(shape, self.device, torch.float32)

    def _tables(self, shape: tuple[int, int], picks: Tensor) -> BankedTables:
        distinct = sorted(set(picks.tolist()))
        index = torch.tensor([distinct.index(i) for i in picks.tolist()])
        tables = [self.library.dense(shape, i, self.device, torch.float32) for i in distinct]
        return BankedTables(torch.stack(tables), index)


def _is_table(name: str) -> bool:
    """Whether the slot is vocabulary-sized."""
    return name in ("wte", "head")


def _slots(config: GPT2Config) -> tuple[Slot, ...]:
    d, v = config.d_model, config.vocab_size
    slots = [Slot("wte", (v, d)), Slot("wpe", (config.n_positions, d))]
    for i in range(config.n_layers):
        slots += [Slot(f"h.{i}.attn.{m}", (d, d)) for m in "qkvo"]
        slots += [
            Slot(f"h.{i}.mlp.fc", (config.d_mlp, d)),
            Slot(f"h.{i}.mlp.proj", (d, config.d_mlp)),
        ]
    return (*slots, Slot("head", (v, d)))
