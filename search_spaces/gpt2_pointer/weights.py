"""Grown weights of `gpt2-pointer`: genomes -> GPT-2 weights and pointers, for a whole population at
once.

Layer 0's heads average codes of earlier tokens under fixed position patterns and add what these say
beyond the current token; everything else in the GPT-2 stays silent. The residual stream holds

    one | ballast | position 4 | code K | spare

as in `clso.grown.layout`: a constant for LayerNorm to take away, and a fill that makes its division
a constant. What is embedded as a token's code is A - gain E, its code less what its context adds on
average, whereas the heads are to read A: the spare dimensions hold the main directions of E, which
the output table does not see.

Letters of shapes: P candidates, V tokens, T positions, d residual dimensions, H heads, h = d / H, k
dimensions of one family's code, K of the widest, q spare dimensions, r the rank of a head's map."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.codes import Codes, grow_codes
from clso.grown.counted import bigram_counts
from clso.grown.joint_context import fit_joint_maps
from clso.grown.layout import rotation
from clso.grown.patterns import N_POSITION_DIMS, position_codes
from clso.grown.statistics import PairCounts
from clso.models.pointer import SCALARS
from clso.models.pointer_population import PopulationPointer, pointer_candidates_per_pass
from clso.models.population import PopulationGPT2
from clso.models.tables import Embeddings, Heads
from clso.search_spaces.gpt2_pointer.context_part import ContextPart
from clso.search_spaces.gpt2_pointer.genes import (
    CODE_START,
    GAIN_VALUES,
    alleles_of,
    code_families,
    context_patterns,
)
from clso.space import Genome
from clso.space.genome import in_parts
from clso.space.language import LanguageModelSpace, token_blocks

__all__ = ["PointerWeights"]

# of a token's vector; codes are small against it, so what is added later hardly changes the norm
_NORM = 100.0
_POSITION = 10.0  # radius of a circle of position codes
_POSITION_DIMS = slice(2, 2 + N_POSITION_DIMS)
_MIN_D_MODEL = CODE_START + 8


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
        parts = in_parts(genomes, pointer_candidates_per_pass(self.config, self.device))
        return torch.cat([self.population(part).losses(blocks) for part in parts])

    def population(self, genomes: Sequence[Genome]) -> PopulationPointer:
        """Weights of the genomes, stacked. Candidates with the same codes share their output
        table."""
        alleles = [alleles_of(genome) for genome in genomes]
        gain = self._gains(alleles)
        # Candidates (M,) that share codes and context patterns share their value maps, too.
        groups: dict[tuple[int, int], list[int]] = {}
        for i, a in enumerate(alleles):
            groups.setdefault((a["codes"], a["contexts"]), []).append(i)
        members = {key: torch.tensor(group, device=self.device) for key, group in groups.items()}
        embeddings = _GrownEmbeddings(self, members, gain["context.gain"], gain["temperature"])
        heads = _GrownHeads(self, [a["codes"] for a in alleles])
        params = {**self._shared_params(len(alleles)), **self._attention(alleles, members, gain)}
        # (P, V): 0 for a token that never occurs, less the more often one does
        rarity = -torch.log1p(self.count / gain["rarity.half_count"][:, None])
        projection = torch.stack([self._projection(a["codes"]) for a in alleles])  # (P, d, K)
        return PopulationPointer(
            PopulationGPT2(self.config, embeddings, heads, params),
            rarity,
            projection,
            {name: gain[f"pointer.{name}"] for name in SCALARS},
        )

    def _gains(self, alleles: Sequence[Mapping[str, int]]) -> dict[str, Tensor]:
        """The candidates' value of each gain (P,)."""
        rows = [[values[a[name]] for name, values in GAIN_VALUES.items()] for a in alleles]
        return dict(zip(GAIN_VALUES, torch.tensor(rows, device=self.device).T, strict=True))

    def _shared_params(self, p: int) -> dict[str, Tensor]:
        """What no gene changes, for p candidates: positions and LayerNorms."""
        config = self.config
        # Both circles of position codes (T, d).
        wpe = torch.zeros(config.n_positions, config.d_model, device=self.device)
        wpe[:, _POSITION_DIMS] = _POSITION * position_codes(config.n_positions).float().to(
            self.device
        )
        # LayerNorm's output is then the residual vector itself (d,).
        norm = math.sqrt(_NORM**2 + 2 * _POSITION**2)
        unit = torch.full((config.d_model,), norm / math.sqrt(config.d_model), device=self.device)
        return {
            "wpe.weight": _shared(wpe @ self.rotation.T, p),
            "h.0.ln_1.weight": _shared(unit, p),
            "ln_f.weight": _shared(unit, p),
            "ln_f.bias": _shared(torch.ones_like(unit), p),
        }

    def _attention(
        self,
        alleles: Sequence[Mapping[str, int]],
        members: Mapping[tuple[int, int], Tensor],
        gain: Mapping[str, Tensor],
    ) -> dict[str, Tensor]:
        """Layer 0's attention, in physical coordinates: (P, 3 d, d) and (P, d, d)."""
        p, d = len(alleles), self.config.d_model
        qkv = torch.empty(p, 3 * d, d, device=self.device)
        output = torch.empty(p, d, d, device=self.device)
        gain_allele = torch.tensor([a["context.gain"] for a in alleles], device=self.device)
        for (codes, contexts), group in members.items():
            part = self.context(codes, contexts)
            qkv[group] = self._qkv(part, gain_allele[group]) @ self.rotation.T
            output[group] = self.rotation @ self._output(
                part, self.code_dims(codes), gain["context.gain"][group]
            )
        return {"h.0.attn.qkv.weight": qkv, "h.0.attn.o.weight": output}

    def _projection(self, allele: int) -> Tensor:
        """From hidden states to the code (d, K), padded with zeros to the widest code."""
        widest = max(family.rank for family in self.families)
        out = torch.zeros(self.config.d_model, widest, device=self.device)
        dims = self.code_dims(allele)
        out[:, : dims.stop - dims.start] = self.rotation[:, dims]
        return out

    def _qkv(self, part: ContextPart, gain_allele: Tensor) -> Tensor:
        """Queries, keys and values of layer 0 (P, 3 d, d), in logical coordinates."""
        d, h = self.config.d_model, self.head_dim
        out = torch.zeros(len(gain_allele), 3, d // h, h, d, device=self.device)
        query, key, value = out.unbind(1)  # (P, H, h, d) each
        maps = part.down[gain_allele]  # (P, patterns, k + q, r of all heads)
        for head, pattern, rank in part.pieces(h):
            # Ask for positions by the pattern: a position code (4) for codes,
            asked = math.sqrt(h) / _POSITION**2 * part.patterns[pattern].query()
            query[:, head, :N_POSITION_DIMS, _POSITION_DIMS] = asked.float().to(self.device)
            # which lie there as they are (4).
            key[:, head, :N_POSITION_DIMS, _POSITION_DIMS] = torch.eye(
                N_POSITION_DIMS, device=self.device
            )
            # Bring this head's share (r) of what the map's first half makes of the code (k + q).
            down = maps[:, pattern, :, rank].transpose(1, 2)  # (P, r, k + q)
            value[:, head, : down.shape[1], CODE_START : CODE_START + down.shape[2]] = down
        return out.flatten(1, 3)

    def _output(self, part: ContextPart, dims: slice, gain: Tensor) -> Tensor:
        """Output projection of layer 0 (P, d, d), in logical coordinates."""
        d, h = self.config.d_model, self.head_dim
        out = torch.zeros(len(gain), d, d // h, h, device=self.device)
        for head, pattern, rank in part.pieces(h):
            # The map's second half (r, k) adds to the code as strongly as the gain says.
            up = part.maps.up[pattern, rank]
            out[:, dims, head, : len(up)] = gain[:, None, None] * up.T
        return out.flatten(2)


class _GrownEmbeddings(Embeddings):
    """temperature [A - gain E, spare] for the tokens asked for, filled up to one norm."""

    def __init__(
        self,
        grown: PointerWeights,
        members: dict[tuple[int, int], Tensor],
        gain: Tensor,
        temperature: Tensor,
    ) -> None:
        """`members` (M,) are the candidates of a code and a context allele; the others are (P,)."""
        self._grown, self._members = grown, members
        self._gain, self._temperature = gain, temperature

    def __len__(self) -> int:
        return len(self._gain)

    def rows(self, tokens: Tensor) -> Tensor:
        """Token vectors (P, N, d) of tokens (N,), in physical coordinates."""
        grown = self._grown
        out = torch.zeros(len(self), len(tokens), grown.config.d_model, device=tokens.device)
        for (codes, contexts), members in self._members.items():
            part = grown.context(codes, contexts)
            # The token's code (M, N, k), less what its context will add on average.
            expected = self._gain[members, None, None] * part.maps.expected[tokens]
            code = grown.codes(codes).a[tokens] - expected
            # What was taken away, along its main directions (M, N, q).
            spare = part.spare[tokens].expand(len(members), -1, -1)
            both = self._temperature[members, None, None] * torch.cat([code, spare], 2)
            out[members, :, CODE_START : CODE_START + both.shape[2]] = both
        # Fill every vector up to one norm, so that LayerNorm's division is a constant (P, N).
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
