"""A warm start: the weights of an existing GPT-2, each matrix cut to a rank that evolution chooses.

Every matrix of a layer has one gene: off, a low rank, or the full rank, which is the checkpoint's
own matrix. Biases, LayerNorms, positions, embedding and head are the checkpoint's. What text the
checkpoint has seen is not known here: a loss on text that it was trained on says little."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.crystals import Crystal, Zero, cuts
from clso.errors import ConfigError, RunFolderError
from clso.models.gpt2 import GPT2, GPT2Config
from clso.models.population import PopulationGPT2
from clso.models.store import load_model
from clso.models.tables import BankedTables
from clso.search_spaces.gpt2.costs import Stored, model_costs, stored
from clso.search_spaces.gpt2.random import Slot
from clso.space import Gene, Genome

__all__ = ["RANKS", "WarmWeights"]

RANKS = (0, 4, 8, 16, 32, 64)
"""Ranks offered below a matrix's full one; 0 turns it off."""


class WarmWeights:
    """One gene a weight matrix, one allele a rank. The checkpoint is read when it is first
    needed."""

    def __init__(self, config: GPT2Config, folder: Path, device: torch.device) -> None:
        self.config, self.device = config, device
        self.folder = folder
        self.slots = _slots(config)
        self.ranks = [(*(r for r in RANKS if r < min(s.shape)), min(s.shape)) for s in self.slots]
        self.genes = tuple(
            Gene(s.name, _labels(r)) for s, r in zip(self.slots, self.ranks, strict=True)
        )

    @cached_property
    def checkpoint(self) -> dict[str, Tensor]:
        """The checkpoint's tensors by name in `GPT2.state_dict()`, on the CPU.

        Raises:
            RunFolderError: the folder is missing or damaged, or holds weights that are not finite.
            ConfigError: another size than the run's.
        """
        model = load_model(self.folder)
        if not isinstance(model, GPT2):  # its GPT-2 part alone is not what was searched
            raise ConfigError(
                f"the checkpoint {self.folder} is a GPT-2",
                got=type(model).__name__,
                remedy="Name a run of --space gpt2.",
            )
        self._check_sizes(model.config)
        state = model.state_dict()
        for name, value in state.items():
            if not torch.isfinite(value).all():
                raise RunFolderError(
                    f"the weights in {self.folder} are finite", got=name, remedy="Train it again."
                )
        return state

    def _check_sizes(self, found: GPT2Config) -> None:
        for name in ("vocab_size", "n_layers", "d_model", "n_heads", "n_positions"):
            its, ours = getattr(found, name), getattr(self.config, name)
            if its != ours:
                remedy = (
                    "Use the text and tokenizer that it was trained with."
                    if name == "vocab_size"
                    else f"Use --option {name}={its}."
                )
                raise ConfigError(
                    f"the checkpoint {self.folder} has the run's {name}, {ours}",
                    got=its,
                    remedy=remedy,
                )

    @cached_property
    def crystals(self) -> list[list[Crystal]]:
        """Per gene, the crystal of each allele."""
        out: list[list[Crystal]] = []
        for slot, ranks in zip(self.slots, self.ranks, strict=True):
            n_off = sum(r == 0 for r in ranks)
            out.append(
                [Zero(slot.shape, seed=0)] * n_off + [*cuts(self._matrix(slot.name), ranks[n_off:])]
            )
        return out

    @cached_property
    def _banks(self) -> list[Tensor]:
        """Per gene, the dense alleles (n_alleles, d_out, d_in) on the device."""
        banks = []
        for slot, crystals in zip(self.slots, self.crystals, strict=True):
            # The full rank is the checkpoint to the last bit, not its factors' product.
            dense = [*(c.to_dense() for c in crystals[:-1]), self._matrix(slot.name)]
            banks.append(torch.stack(dense).to(self.device))
        return banks

    @cached_property
    def _shared(self) -> dict[str, Tensor]:
        """What no gene changes, on the device."""
        taken = tuple(f"{m}.weight" for m in ("attn.qkv", "attn.o", "mlp.fc", "mlp.proj"))
        return {n: t.to(self.device) for n, t in self.checkpoint.items() if not n.endswith(taken)}

    def prepare(self) -> None:
        """Read the checkpoint and cut its matrices."""
        _ = self._banks, self._shared

    def seeds(self) -> list[Genome]:
        """The checkpoint itself."""
        return [tuple(len(gene) - 1 for gene in self.genes)]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Rank and log(1 + rank)."""
        return [
            np.stack([r, np.log1p(r)], axis=1)
            for r in (np.array(ranks, dtype=float) for ranks in self.ranks)
        ]

    def decode(self, genome: Genome) -> dict[str, Crystal]:
        return {s.name: c[a] for s, c, a in zip(self.slots, self.crystals, genome, strict=True)}

    @cached_property
    def _costs(self) -> list[list[Stored]]:
        return [[stored(crystal) for crystal in crystals] for crystals in self.crystals]

    def costs(self, genome: Genome) -> dict[str, float]:
        slots = {
            s.name: (s.name, c[a]) for s, c, a in zip(self.slots, self._costs, genome, strict=True)
        }
        for name in ("wte", "wpe", "head"):
            size = self.checkpoint[f"{name}.weight"].numel()
            slots[name] = (name, Stored(2 * size, size, 4 * size))
        return model_costs(self.config, slots, trained=True)

    def on_all_text(self, genome: Genome) -> WarmWeights:
        """The checkpoint brings its knowledge along; the run's text adds none."""
        return self

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        return self.population(genomes).losses(blocks)

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        n = len(genomes)
        picks = torch.tensor(genomes, dtype=torch.long, device=self.device).reshape(
            n, len(self.slots)
        )
        stacked = {
            s.name: bank[picks[:, i]]
            for i, (s, bank) in enumerate(zip(self.slots, self._banks, strict=True))
        }
        params = {
            name: value.expand(n, *value.shape)
            for name, value in self._shared.items()
            if name not in ("wte.weight", "head.weight")
        }
        for i in range(self.config.n_layers):
            h = f"h.{i}"
            params[f"{h}.attn.qkv.weight"] = torch.cat(
                [stacked[f"{h}.attn.{m}"] for m in "qkv"], dim=1
            )
            for name in ("attn.o", "mlp.fc", "mlp.proj"):
                params[f"{h}.{name}.weight"] = stacked[f"{h}.{name}"]
        everyone = torch.zeros(n, dtype=torch.long)
        wte, head = (
            BankedTables(self._shared[f"{t}.weight"][None], everyone) for t in ("wte", "head")
        )
        return PopulationGPT2(self.config, wte, head, params)

    def _matrix(self, name: str) -> Tensor:
        """The checkpoint's matrix of a slot: `h.0.attn.q` is the first third of
        `h.0.attn.qkv.weight`."""
        layer, _, part = name.rpartition(".")
        if part in ("q", "k", "v"):
            return self.checkpoint[f"{layer}.qkv.weight"].chunk(3)["qkv".index(part)]
        return self.checkpoint[f"{name}.weight"]


def _slots(config: GPT2Config) -> tuple[Slot, ...]:
    d, slots = config.d_model, []
    for i in range(config.n_layers):
        slots += [Slot(f"h.{i}.attn.{m}", (d, d)) for m in "qkvo"]
        slots += [
            Slot(f"h.{i}.mlp.fc", (config.d_mlp, d)),
            Slot(f"h.{i}.mlp.proj", (d, config.d_mlp)),
        ]
    return tuple(slots)


def _labels(ranks: Sequence[int]) -> tuple[str, ...]:
    return (*("off" if rank == 0 else f"rank-{rank}" for rank in ranks[:-1]), "full")
