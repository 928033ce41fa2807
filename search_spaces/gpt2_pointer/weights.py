"""Grown weights of `gpt2-pointer`: genomes -> GPT-2 weights and pointers, for a whole population at
once.

Layer 0's heads average codes of earlier tokens under fixed position patterns and add what these say
beyond the current token; everything else in the GPT-2 stays silent. The residual stream holds

    one | ballast | position 4 | code K | spare

as in `clso.grown.layout`: a constant for LayerNorm to take away, and a fill that makes its division
a constant. What is embedded as a token's code is A - gain E, its code less what its context adds on
average, whereas the heads are to read A: the spare dimensions hold the main directions of E, which
the output table does not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.codes import Codes, grow_codes
from clso.grown.counted import bigram_counts
from clso.grown.joint_context import JointMaps, fit_joint_maps
from clso.grown.layout import rotation
from clso.grown.patterns import N_POSITION_DIMS, PositionPattern, position_codes
from clso.grown.statistics import PairCounts
from clso.models.pointer import SCALARS
from clso.models.pointer_population import PopulationPointer, pointer_candidates_per_pass
from clso.models.population import PopulationGPT2
from clso.models.tables import Embeddings, Heads
from clso.search_spaces.gpt2_pointer.genes import (
    CODE_START,
    GAIN_VALUES,
    code_families,
    context_patterns,
)
from clso.space import Genome
from clso.space.language import LanguageModelSpace, token_blocks

__all__ = ["PointerWeights"]

# of a token's vector; codes are small against it, so what is added later hardly changes the norm
_NORM = 100.0
_POSITION = 10.0  # radius of a circle of position codes
_POSITION_DIMS = slice(2, 2 + N_POSITION_DIMS)
_MIN_D_MODEL = CODE_START + 8
_READER_RIDGE = 1e-5
_GAIN_GENE = 2  # context.gain, the first of the ladders


class PointerWeights:
    """Crystals grown from one split of a corpus, and their assembly. Crystals are grown when first
    used."""

    def __init__(self, space: LanguageModelSpace, split: str = "statistics") -> None:
        self.config, self.corpus, self.split = space.config, space.corpus, split
        self.device = torch.device(space.context.device)
        if self.config.d_model < _MIN_D_MODEL:
            raise ConfigError(
                f"gpt2-pointer needs {_MIN_D_MODEL} dimensions at least", got=self.config.d_model
            )
        self.families = code_families(self.config)
        self.patterns = context_patterns(self.config)
        self.rotation = rotation(self.config.d_model, self.device)
        self.head_dim = self.config.d_model // self.config.n_heads
        self._codes: dict[int, Codes] = {}
        self._heads: dict[int, Tensor] = {}
        self._contexts: dict[tuple[int, int], ContextPart] = {}

    @cached_property
    def pairs(self) -> PairCounts:
        """Bigram counts of the split."""
        return bigram_counts(self.corpus, self.split, self.device)

    @cached_property
    def count(self) -> Tensor:
        """Occurrences of each token (V,)."""
        return self.pairs.row_sums()

    @cached_property
    def _blocks(self) -> Tensor:
        return token_blocks(np.asarray(self.corpus.tokens(self.split)), self.config.n_positions).to(
            self.device
        )

    def codes(self, allele: int) -> Codes:
        """Codes of a code allele."""
        if allele not in self._codes:
            self._codes[allele] = grow_codes(self.pairs, self.families[allele])
        return self._codes[allele]

    def code_dims(self, allele: int) -> slice:
        """Where the residual stream holds a code allele's code."""
        return slice(CODE_START, CODE_START + self.families[allele].rank)

    def head(self, allele: int) -> Tensor:
        """The output table (V, d) of a code allele, in logical coordinates."""
        if allele not in self._heads:
            codes, d = self.codes(allele), self.config.d_model
            table = torch.zeros(self.config.vocab_size, d, device=self.device)
            table[:, self.code_dims(allele)] = codes.b
            # ln_f's bias is all ones: sqrt(d) along the first logical axis
            table[:, 0] = codes.log_p / math.sqrt(d)
            self._heads[allele] = table
        return self._heads[allele]

    def context(self, allele: int, context: int) -> ContextPart:
        """The value maps of a context allele under a code allele."""
        if (allele, context) not in self._contexts:
            codes, patterns = self.codes(allele), self.patterns[context]
            heads_each = self.config.n_heads // len(patterns)
            attentions = torch.stack([p.weights() for p in patterns])
            maps = fit_joint_maps(
                self._blocks, attentions, codes.a, codes.b, heads_each * self.head_dim
            )
            spare = self.config.d_model - self.code_dims(allele).stop
            self._contexts[allele, context] = ContextPart(
                maps, codes.a, self.count, patterns, heads_each, spare
            )
        return self._contexts[allele, context]

    def losses(self, genomes: Sequence[Genome], blocks: Tensor) -> Tensor:
        """Mean loss of each genome on shared blocks (B, T + 1): (P,) float64, nats per token."""
        size = pointer_candidates_per_pass(self.config, self.device)
        parts = [genomes[i : i + size] for i in range(0, len(genomes), size)]
        return torch.cat([self.population(part).losses(blocks) for part in parts])

    def population(self, genomes: Sequence[Genome]) -> PopulationPointer:
        """Weights of the genomes, stacked. Candidates with the same codes share their output
        table."""
        config, p = self.config, len(genomes)
        rows = [
            [ladder[a] for ladder, a in zip(GAIN_VALUES.values(), g[2:], strict=True)]
            for g in genomes
        ]
        number = dict(zip(GAIN_VALUES, torch.tensor(rows, device=self.device).T, strict=True))
        qkv = torch.empty(p, 3 * config.d_model, config.d_model, device=self.device)
        output = torch.empty(p, config.d_model, config.d_model, device=self.device)
        gain_allele = torch.tensor([g[_GAIN_GENE] for g in genomes], device=self.device)
        groups: dict[tuple[int, int], list[int]] = {}
        for i, g in enumerate(genomes):
            groups.setdefault((g[0], g[1]), []).append(i)
        where = {key: torch.tensor(members, device=self.device) for key, members in groups.items()}
        for (allele, context), members in where.items():
            part = self.context(allele, context)
            qkv[members] = self._qkv(part, gain_allele[members]) @ self.rotation.T
            gain = number["context.gain"][members]
            output[members] = self.rotation @ self._output(part, self.code_dims(allele), gain)
        norm = math.sqrt(_NORM**2 + 2 * _POSITION**2)
        # LayerNorm's output is then the residual vector itself.
        unit = torch.full((config.d_model,), norm / math.sqrt(config.d_model), device=self.device)
        wpe = torch.zeros(config.n_positions, config.d_model, device=self.device)
        wpe[:, _POSITION_DIMS] = _POSITION * position_codes(config.n_positions).float().to(
            self.device
        )
        params = {
            "wpe.weight": _shared(wpe @ self.rotation.T, p),
            "h.0.attn.qkv.weight": qkv,
            "h.0.attn.o.weight": output,
            "h.0.ln_1.weight": _shared(unit, p),
            "ln_f.weight": _shared(unit, p),
            "ln_f.bias": _shared(torch.ones_like(unit), p),
        }
        embeddings = _GrownEmbeddings(self, where, number["context.gain"], number["temperature"])
        lm = PopulationGPT2(config, embeddings, _GrownHeads(self, [g[0] for g in genomes]), params)
        rarity = -torch.log1p(self.count / number["rarity.half_count"][:, None])
        projection = torch.stack([self._projection(g[0]) for g in genomes])
        return PopulationPointer(
            lm, rarity, projection, {name: number[f"pointer.{name}"] for name in SCALARS}
        )

    def _projection(self, allele: int) -> Tensor:
        """From hidden states to the code (d, K), padded with zeros to the widest code."""
        widest = max(family.rank for family in self.families)
        out = torch.zeros(self.config.d_model, widest, device=self.device)
        dims = self.code_dims(allele)
        out[:, : dims.stop - dims.start] = self.rotation[:, dims]
        return out

    def _qkv(self, part: ContextPart, gain_allele: Tensor) -> Tensor:
        """Queries, keys and values of layer 0 (P, 3 d, d), in logical coordinates."""
        d, hd = self.config.d_model, self.head_dim
        out = torch.zeros(len(gain_allele), 3, d, d, device=self.device)
        down = part.down[gain_allele]
        for head, pattern, rank in part.pieces(hd):
            start = head * hd
            query = math.sqrt(hd) / _POSITION**2 * part.patterns[pattern].query()
            out[:, 0, start : start + N_POSITION_DIMS, _POSITION_DIMS] = query.float().to(
                self.device
            )
            out[:, 1, start : start + N_POSITION_DIMS, _POSITION_DIMS] = torch.eye(
                N_POSITION_DIMS, device=self.device
            )
            piece = down[:, pattern, :, rank]
            out[:, 2, start : start + piece.shape[2], CODE_START : CODE_START + piece.shape[1]] = (
                piece.transpose(1, 2)
            )
        return out.flatten(1, 2)

    def _output(self, part: ContextPart, dims: slice, gain: Tensor) -> Tensor:
        """Output projection of layer 0 (P, d, d), in logical coordinates."""
        d, hd = self.config.d_model, self.head_dim
        out = torch.zeros(len(gain), d, d, device=self.device)
        for head, pattern, rank in part.pieces(hd):
            piece = part.maps.up[pattern, rank]
            out[:, dims, head * hd : head * hd + len(piece)] = gain[:, None, None] * piece.T
        return out


class ContextPart:
    """Value maps of a context allele, and how to read the plain code A (V, k) out of what is
    embedded.

    `spare` (V, q) is E on its main directions, with E the maps' `expected`; `down` (gains, h, k +
    q, r) the maps' first halves for each gain of the ladder, as a head applies them to what is
    embedded."""

    def __init__(
        self,
        maps: JointMaps,
        a: Tensor,
        count: Tensor,
        patterns: tuple[PositionPattern, ...],
        heads_each: int,
        n_spare: int,
    ) -> None:
        self.maps, self.patterns, self.heads_each = maps, patterns, heads_each
        w, e = count[:, None], maps.expected
        ee = (e * w).T @ e
        self._main = torch.linalg.eigh(ee)[1].flip(1)[:, :n_spare]
        self.spare = e @ self._main
        self._aa, self._ae, self._ee = (a * w).T @ a, (a * w).T @ e, ee
        self.down = (
            self.reader(torch.tensor(GAIN_VALUES["context.gain"], device=a.device))[:, None]
            @ maps.down
        )

    def reader(self, gain: Tensor) -> Tensor:
        """For gains (P,), matrices R (P, k + q, k) of the least squares [A - gain E, spare] R = A
        over the text's tokens."""
        g = gain[:, None, None]
        code = self._aa - g * (self._ae + self._ae.T) + g * g * self._ee
        cross = (self._ae - g * self._ee) @ self._main
        spare = (self._main.T @ self._ee @ self._main).expand(len(gain), -1, -1)
        gram = torch.cat(
            [torch.cat([code, cross], 2), torch.cat([cross.transpose(1, 2), spare], 2)], 1
        )
        right = torch.cat(
            [self._aa - g * self._ae.T, (self._main.T @ self._ae.T).expand(len(gain), -1, -1)], 1
        )
        # Columns to unit length, so that one small ridge suits codes and their spare directions
        # alike.
        size = gram.diagonal(dim1=1, dim2=2).clamp(min=1e-9).sqrt()[..., None]
        gram = gram / (size * size.transpose(1, 2))
        gram.diagonal(dim1=1, dim2=2).add_(_READER_RIDGE)
        solved: Tensor = torch.linalg.solve(gram, right / size) / size
        return solved

    def pieces(self, head_dim: int) -> list[tuple[int, int, slice]]:
        """For each head that speaks: its number, its pattern, its part of that pattern's map."""
        parts = [slice(i * head_dim, (i + 1) * head_dim) for i in range(self.heads_each)]
        each = [(pattern, part) for pattern in range(len(self.patterns)) for part in parts]
        return [(head, pattern, part) for head, (pattern, part) in enumerate(each)]


class _GrownEmbeddings(Embeddings):
    """temperature [A - gain E, spare] for the tokens asked for, filled up to one norm."""

    def __init__(
        self,
        grown: PointerWeights,
        where: dict[tuple[int, int], Tensor],
        gain: Tensor,
        temperature: Tensor,
    ) -> None:
        self._grown, self._where, self._gain, self._temperature = grown, where, gain, temperature

    def __len__(self) -> int:
        return len(self._gain)

    def rows(self, tokens: Tensor) -> Tensor:
        grown = self._grown
        out = torch.zeros(len(self), len(tokens), grown.config.d_model, device=tokens.device)
        for (allele, context), members in self._where.items():
            part = grown.context(allele, context)
            code = (
                grown.codes(allele).a[tokens]
                - self._gain[members, None, None] * part.maps.expected[tokens]
            )
            spare = part.spare[tokens].expand(len(members), -1, -1)
            both = self._temperature[members, None, None] * torch.cat([code, spare], 2)
            out[members, :, CODE_START : CODE_START + both.shape[2]] = both
        out[..., 1] = (_NORM**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        return out @ grown.rotation.T


class _GrownHeads(Heads):
    """One output table for each code allele in use, in logical coordinates."""

    def __init__(self, grown: PointerWeights, alleles: Sequence[int]) -> None:
        self._grown, self._distinct = grown, sorted(set(alleles))
        self.index = torch.tensor([self._distinct.index(a) for a in alleles])
        self.basis = grown.rotation
        self._tables: dict[torch.dtype, Tensor] = {}

    def distinct(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self._tables:
            self._tables[dtype] = torch.stack(
                [self._grown.head(a).to(dtype) for a in self._distinct]
            )
        return self._tables[dtype]


def _shared(x: Tensor, p: int) -> Tensor:
    """The same tensor for p candidates. Unlike `expand`, the first stride is 0 for one candidate as
    well."""
    return x.as_strided((p, *x.shape), (0, *x.stride()))
