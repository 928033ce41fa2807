"""Grown weights: genomes -> true GPT-2 weights out of closed-form parts, for a whole population at once."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.crystals.grown.als import hash_noise
from clso.crystals.grown.codes import grow_codes
from clso.crystals.grown.context import ValueMap, fit_value_map
from clso.crystals.grown.counted import bigram_counts
from clso.crystals.grown.features import RandomFeatures, fit_features, random_features
from clso.crystals.grown.layout import Layout, rotation
from clso.crystals.grown.patterns import decaying, lag
from clso.crystals.grown.statistics import PairCounts
from clso.errors import ConfigError
from clso.language import LanguageModelSpace, token_blocks
from clso.models.population import PopulationGPT2
from clso.models.tables import Embeddings, Heads
from clso.space import Genome
from search_spaces.gpt2_genes import (
    CONTEXTS,
    GAINS,
    MLP_GAINS,
    MLPS,
    CodeAllele,
    code_alleles,
    grown_genes,
    hand_set,
)
from search_spaces.gpt2_grown_costs import GrownCosts
from search_spaces.gpt2_grown_mlp import HiddenUnits, PopulationWithUnits
from search_spaces.gpt2_template import FAINT, NORM, Template

__all__ = ["GrownWeights"]


_TEMPERATURE, _MLP = 2 + list(GAINS).index("temperature"), 2 + len(GAINS)  # places in the genome
_MAP_TOKENS = 1 << 18  # a value map has a few thousand entries: more tokens than this do not show in the loss


class _Crystals:
    """What is grown for one code allele: codes, names, wiring, and value maps as contexts are first asked for."""

    def __init__(self, grown: GrownWeights, allele: CodeAllele) -> None:
        self.layout = allele.layout
        self.codes = grow_codes(grown.pairs, allele.family)
        self._grown = grown
        config, device = grown.config, grown.device
        names = hash_noise(config.vocab_size, self.layout.identity, device, seed=1)
        self.names = names / names.norm(dim=1, keepdim=True)
        self.template = grown.template(self.layout)
        k, n = self.layout.code, len(grown.patterns)
        self.maps = torch.zeros(n, k, k, device=device)
        self.expected = torch.zeros(n, config.vocab_size, k, device=device)
        self._contexts: dict[int, ValueMap] = {}
        self._units: dict[tuple[int, int], tuple[RandomFeatures, Tensor]] = {}

    def grow_contexts(self, contexts: Iterable[int]) -> None:
        """Fit the value maps of patterns that have none yet."""
        for context in sorted(set(contexts) - set(self._contexts)):
            attention = self._grown.patterns[context].weights()
            fitted = fit_value_map(self._grown.blocks, attention, self.codes.a, self.codes.b)
            self.maps[context], self.expected[context] = fitted.matrix, fitted.expected
            self._contexts[context] = ValueMap(self.maps[context], self.expected[context])

    def units(self, context: int, mlp: int) -> tuple[RandomFeatures, Tensor]:
        """Hidden units of an MLP allele behind a context pattern, and their output map."""
        if (context, mlp) not in self._units:
            self.grow_contexts([context])
            family, n_units = MLPS[mlp]
            codes = self.codes
            features = random_features(family, n_units, codes.a, codes.statistics.row)
            attention = self._grown.patterns[context].weights()
            fitted = fit_features(self._grown.blocks, attention, codes.a, codes.b, self._contexts[context], features)
            self._units[context, mlp] = features, fitted
        return self._units[context, mlp]


def _projection(layout: Layout) -> Tensor:
    """From names to what is matched (D, S): orthonormal directions, scaled so that a name matches itself with about 1."""
    square = hash_noise(layout.identity, layout.identity, torch.device("cpu"), seed=2)
    directions = torch.linalg.qr(square.double())[0][:, : layout.match].float()
    scale = max(1.0, math.sqrt(layout.identity / layout.match))
    return torch.nn.functional.pad(directions * scale, (0, max(0, layout.match - layout.identity)))


class GrownWeights:
    """Crystals grown from one split of a corpus, and their assembly. Crystals are grown when first used."""

    def __init__(self, space: LanguageModelSpace, split: str = "statistics") -> None:
        self.space, self.split = space, split
        self.config = space.config
        self.device = torch.device(space.context.device)
        if self.config.n_layers < 2 or self.config.n_heads < 2 or self.config.d_model < 32:
            raise ConfigError(
                "grown GPT-2 weights need 2 layers, 2 heads and 32 dimensions at least",
                got=(self.config.n_layers, self.config.n_heads, self.config.d_model),
                remedy="Use larger sizes, or --library random.",
            )
        self.alleles = code_alleles(self.config)
        self._mlp = space.context.mlp
        self.genes = grown_genes(self.config, self._mlp)
        t = self.config.n_positions
        self.patterns = [lag(int(s), t) if kind == "lag" else decaying(s, t) for kind, s in CONTEXTS]
        self.costs = GrownCosts(self.config, self.alleles, self.patterns)
        self._crystals: dict[int, _Crystals] = {}
        self._templates: dict[Layout, Template] = {}
        self._ladders = [np.array(ladder, dtype=np.float32) for ladder in GAINS.values()]

    @cached_property
    def _tokens(self) -> np.ndarray[Any, Any]:
        return np.asarray(self.space.corpus.tokens(self.split))

    @cached_property
    def pairs(self) -> PairCounts:
        """Bigram counts of the split."""
        return bigram_counts(self.space.corpus, self.split, self.device)

    @cached_property
    def blocks(self) -> Tensor:
        """Token blocks of the split for fitting value maps, on the device; a long text is sampled evenly."""
        n_blocks = max(1, _MAP_TOKENS // self.config.n_positions)
        return token_blocks(self._tokens, self.config.n_positions, n_blocks).to(self.device)

    @cached_property
    def rotation(self) -> Tensor:
        """From logical to physical coordinates, and back."""
        return rotation(self.config.d_model, self.device)

    def template(self, layout: Layout) -> Template:
        """The wiring of a layout, which several code alleles may share."""
        if layout not in self._templates:
            self._templates[layout] = Template(self.config, layout, _projection(layout), self.patterns, self.device)
        return self._templates[layout]

    def crystals(self, allele: int) -> _Crystals:
        """The crystals of a code allele."""
        if allele not in self._crystals:
            self._crystals[allele] = _Crystals(self, self.alleles[allele])
        return self._crystals[allele]

    def prepare(self) -> None:
        """Grow what the hand-set genome needs; the rest follows when the search asks for it."""
        self.population(self.seeds())

    def seeds(self) -> list[Genome]:
        return [hand_set(self._mlp)]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Gains tell the surrogate their value and its square; structure genes are one-hot only."""
        gains = [np.stack([g, g**2], axis=1) for g in (*self._ladders, np.array(MLP_GAINS, dtype=np.float32))]
        return [None, None, *gains[:-1], *((None, gains[-1]) if self._mlp else ())]

    def decode(self, genome: Genome) -> dict[str, str]:
        return {gene.name: gene.choices[a] for gene, a in zip(self.genes, genome, strict=True)}

    def on_all_text(self) -> GrownWeights:
        """The same families, grown on statistics and fitness text together."""
        return GrownWeights(self.space, "train")

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        """Weights of the genomes, stacked; candidates with the same codes are assembled together."""
        order = sorted(range(len(genomes)), key=lambda i: genomes[i][0])
        groups = [list(members) for _, members in groupby(order, key=lambda i: genomes[i][0])]
        picks = np.array(genomes)[order]
        values = np.stack([ladder[a] for ladder, a in zip(self._ladders, picks.T[2:_MLP], strict=True)], axis=1)
        contexts, gains = torch.from_numpy(picks[:, 1]).to(self.device), torch.from_numpy(values).to(self.device)
        parts, start = [], 0
        for group in groups:
            rows = slice(start, start + len(group))
            crystals = self.crystals(genomes[group[0]][0])
            crystals.grow_contexts(genomes[i][1] for i in group)
            parts.append(_Assembly(crystals, contexts[rows], gains[rows]))
            start = rows.stop
        place = torch.tensor(order).argsort()  # where a candidate stands among the grouped ones
        stacks = [part.params() for part in parts]
        params = stacks[0]
        if len(parts) > 1:
            back = place.to(self.device)
            for name, first in stacks[0].items():
                if first.stride(0):
                    params[name] = torch.cat([stack[name] for stack in stacks])[back]
                else:  # the same for all candidates
                    params[name] = first[:1].expand(len(genomes), *first.shape[1:])
        tables = _GrownTables(self, parts, place)
        return PopulationWithUnits(self.config, tables, tables, params, self._units(genomes))

    def _units(self, genomes: Sequence[Genome]) -> HiddenUnits | None:
        """The MLP crystals of those candidates that have any."""
        having = [i for i, g in enumerate(genomes) if self._mlp and MLPS[g[_MLP]][1]]
        if not having:
            return None
        keys = [(genomes[i][0], genomes[i][1], genomes[i][_MLP]) for i in having]
        distinct = sorted(set(keys))
        fc, bias, proj = [], [], []
        for codes, context, mlp in distinct:
            crystals = self.crystals(codes)
            features, fitted = crystals.units(context, mlp)
            rows, columns = crystals.template.hidden_units(features.weight, fitted)
            fc.append(rows)
            bias.append(features.bias)
            proj.append(columns)
        index = torch.tensor([distinct.index(key) for key in keys], device=self.device)
        temperature, gain = (
            torch.tensor([ladder[genomes[i][gene]] for i in having], device=self.device)[:, None, None]
            for ladder, gene in ((GAINS["temperature"], _TEMPERATURE), (MLP_GAINS, _MLP + 1))
        )
        # The stream holds codes times the temperature; the units read and were fitted on plain codes.
        return HiddenUnits(
            torch.tensor(having, device=self.device),
            torch.stack(fc)[index] / temperature,
            torch.stack(bias)[index],
            torch.stack(proj)[index] * (gain * temperature),
        )


class _GrownTables(Embeddings, Heads):
    """Embeddings and heads of assembled groups, in logical coordinates, formed when they are needed."""

    def __init__(self, grown: GrownWeights, parts: list[_Assembly], place: Tensor) -> None:
        self._grown, self._parts = grown, parts
        self.index, self.basis = place, grown.rotation

    def __len__(self) -> int:
        return len(self.index)

    def rows(self, tokens: Tensor) -> Tensor:
        grouped = [part.embeddings(tokens) for part in self._parts]
        rows = grouped[0] if len(grouped) == 1 else torch.cat(grouped)[self.index.to(tokens.device)]
        return rows @ self._grown.rotation

    def distinct(self, dtype: torch.dtype) -> Tensor:
        config, start = self._grown.config, 0
        out = torch.zeros(len(self), config.vocab_size, config.d_model, dtype=dtype, device=self._grown.device)
        for part in self._parts:
            part.fill_heads(out[start : start + len(part)])
            start += len(part)
        return out


class _Assembly:
    """Candidates that share their codes: tensors (P, ...) over the candidates."""

    def __init__(self, crystals: _Crystals, contexts: Tensor, values: Tensor) -> None:
        """`contexts` (P,) and `values` (P, number of gain genes) on the device."""
        self.crystals, self.contexts = crystals, contexts
        self.gain = dict(zip(GAINS, values.T, strict=True))
        self.rarity = -torch.log1p(self.crystals.codes.statistics.row / self.gain["rarity.knee"][:, None])
        self.mean_rarity = self.rarity.mean(1)

    def __len__(self) -> int:
        return len(self.contexts)

    def params(self) -> dict[str, Tensor]:
        """Everything but the tables."""
        gain = self.gain
        return self.crystals.template.weights(
            self.contexts,
            gain["context.gain"][:, None, None] * self.crystals.maps[self.contexts],
            match=gain["copy.match"],
            salience=gain["copy.salience"],
            sink=gain["copy.sink"] - gain["copy.salience"] * self.mean_rarity,
            copy=gain["copy.gain"],
        )

    def embeddings(self, tokens: Tensor) -> Tensor:
        """Embeddings of tokens (n,): (P, n, d), in logical coordinates."""
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        rarity = self.rarity[:, tokens]
        expected = crystals.expected[self.contexts[:, None], tokens[None, :]]
        out = torch.zeros(*rarity.shape, layout.d_model, device=rarity.device)
        code = crystals.codes.a[tokens] - gain["context.gain"][:, None, None] * expected
        out[..., layout.code_dims] = gain["temperature"][:, None, None] * code
        value = FAINT * torch.exp(gain["copy.rare_value"][:, None] * rarity)
        out[..., layout.identity_dims] = crystals.names[tokens] * value[..., None]
        out[..., layout.rarity] = rarity - self.mean_rarity[:, None]
        out[..., layout.ballast] = (NORM**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        return out

    def fill_heads(self, out: Tensor) -> None:
        """Write the candidates' heads into `out` (P, V, d), which is zero; logical coordinates."""
        crystals, layout, gain = self.crystals, self.crystals.layout, self.gain
        out[:, :, layout.code_dims] = crystals.codes.b.to(out.dtype)
        boost = torch.exp(gain["copy.rare_boost"][:, None] * self.rarity).to(out.dtype)
        torch.mul(crystals.names.to(out.dtype), boost[..., None], out=out[:, :, layout.identity_dims])
        bias = crystals.codes.log_p + gain["bias.rarity"][:, None] * self.rarity
        # ln_f's bias is all ones: sqrt(d) along this direction
        out[:, :, layout.one] = (bias / math.sqrt(layout.d_model)).to(out.dtype)
