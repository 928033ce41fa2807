"""Grown weights: genomes -> true GPT-2 weights out of closed-form parts, for a whole population at once.

Layer 0, head 0 fetches the previous token's name; head 1 averages codes of earlier tokens and adds what they say. Layer
1, head 0 copies: it looks for tokens whose predecessor is the current token, prefers rare ones, and rests on position 0
when there is none. Each MLP uses two units: the first swells position 0's ballast, so that resting there brings nothing,
the second takes the swelling back. Further layers and heads stay silent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import groupby
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.crystals.grown.als import hash_noise
from clso.crystals.grown.codes import Codes, grow_codes
from clso.crystals.grown.context import ValueMap, fit_value_map
from clso.crystals.grown.layout import Layout, rotation
from clso.crystals.grown.patterns import PositionPattern, decaying, lag, position_codes
from clso.crystals.grown.statistics import PairCounts, count_pairs
from clso.errors import ConfigError
from clso.language import LanguageModelSpace, token_blocks
from clso.models.population import PopulationGPT2
from clso.models.tables import Embeddings, Heads
from clso.space import Genome
from search_spaces.gpt2_genes import CONTEXTS, GAINS, code_alleles, grown_genes, hand_set

__all__ = ["GrownWeights"]

_NORM = 100.0  # of a token's vector; codes are small against it, so what is added later hardly changes the norm
_POSITION = 10.0  # radius of a circle of position codes
_START = 0.3  # size of position 0's mark
_FAINT = 0.1  # size of a token's own name, against the names of size 1 that the copy head brings
_SWELL = 1e4  # ballast that the first MLP adds at position 0 and the second takes back
_GATE = 30.0  # far out on GELU's flat side: GELU(-30) is 0
_STEP = 8.0  # what the two units differ by where both are on GELU's straight side


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
        self.genes = grown_genes(self.config)
        t = self.config.n_positions
        self.patterns = [lag(int(s), t) if kind == "lag" else decaying(s, t) for kind, s in CONTEXTS]
        self._codes: dict[int, Codes] = {}
        self._maps: dict[tuple[int, int], ValueMap] = {}
        self._names: dict[int, tuple[Tensor, Tensor]] = {}

    @cached_property
    def pairs(self) -> PairCounts:
        """Bigram counts of the split."""
        return count_pairs(self._tokens, self.config.vocab_size)

    @cached_property
    def _tokens(self) -> Tensor:
        tokens = np.asarray(self.space.corpus.tokens(self.split)).astype(np.int64)
        return torch.from_numpy(tokens).to(self.device)

    @cached_property
    def _blocks(self) -> Tensor:
        return token_blocks(np.asarray(self.space.corpus.tokens(self.split)), self.config.n_positions).to(self.device)

    @cached_property
    def rotation(self) -> Tensor:
        """From logical to physical coordinates, and back."""
        return rotation(self.config.d_model, self.device)

    def codes(self, allele: int) -> Codes:
        """Codes of a code allele."""
        if allele not in self._codes:
            self._codes[allele] = grow_codes(self.pairs, self.alleles[allele].family)
        return self._codes[allele]

    def value_map(self, allele: int, context: int) -> ValueMap:
        """The value map of a context pattern under a code allele."""
        if (allele, context) not in self._maps:
            codes = self.codes(allele)
            attention = self.patterns[context].weights()
            self._maps[allele, context] = fit_value_map(self._blocks, attention, codes.a, codes.b)
        return self._maps[allele, context]

    def names(self, allele: int) -> tuple[Tensor, Tensor]:
        """Names of tokens (V, D), unit vectors, and the projection (D, S) under which they are matched."""
        if allele not in self._names:
            layout = self.alleles[allele].layout
            names = hash_noise(self.config.vocab_size, layout.identity, self.device, seed=1)
            names = names / names.norm(dim=1, keepdim=True)
            square = hash_noise(layout.identity, layout.identity, torch.device("cpu"), seed=2)
            size = max(1.0, math.sqrt(layout.identity / layout.match))
            projection = torch.linalg.qr(square.double())[0][:, : layout.match].float() * size
            if layout.match > layout.identity:
                projection = torch.nn.functional.pad(projection, (0, layout.match - layout.identity))
            self._names[allele] = names, projection.to(self.device)
        return self._names[allele]

    def prepare(self) -> None:
        """Grow what the hand-set genome needs; the rest follows when the search asks for it."""
        self.population([hand_set()])

    def seeds(self) -> list[Genome]:
        return [hand_set()]

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Gains tell the surrogate their value and its square; structure genes are one-hot only."""
        ladders = [np.array(g) for g in GAINS.values()]
        return [None, None, *(np.stack([g, g**2], axis=1) for g in ladders)]

    def decode(self, genome: Genome) -> dict[str, str]:
        return {gene.name: gene.choices[a] for gene, a in zip(self.genes, genome, strict=True)}

    def on_all_text(self) -> GrownWeights:
        """The same families, grown on statistics and fitness text together."""
        return GrownWeights(self.space, "train")

    def population(self, genomes: Sequence[Genome]) -> PopulationGPT2:
        """Weights of the genomes, stacked; candidates with the same codes are assembled together."""
        order = sorted(range(len(genomes)), key=lambda i: genomes[i][0])
        groups = [list(members) for _, members in groupby(order, key=lambda i: genomes[i][0])]
        parts = [_Assembly(self, genomes[g[0]][0], [genomes[i] for i in g]) for g in groups]
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
        return PopulationGPT2(self.config, tables, tables, params)


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

    def __init__(self, grown: GrownWeights, allele: int, genomes: Sequence[Genome]) -> None:
        self.grown, self.config, self.device = grown, grown.config, grown.device
        self.layout: Layout = grown.alleles[allele].layout
        self.codes = grown.codes(allele)
        self.names, self.projection = grown.names(allele)
        self.contexts = [g[1] for g in genomes]
        ladders = [[ladder[a] for ladder, a in zip(GAINS.values(), g[2:], strict=True)] for g in genomes]
        values = torch.tensor(ladders, device=self.device)
        self.gain = dict(zip(GAINS, values.T, strict=True))
        maps = [grown.value_map(allele, c) for c in self.contexts]
        self.matrix = torch.stack([m.matrix for m in maps])
        row = self.codes.statistics.row
        self.rarity = -torch.log1p(row / self.gain["rarity.knee"][:, None])
        self.expected = [m.expected for m in maps]

    def __len__(self) -> int:
        return len(self.contexts)

    def embeddings(self, tokens: Tensor) -> Tensor:
        """Embeddings of tokens (n,): (P, n, d)."""
        layout, gain = self.layout, self.gain
        rarity = self.rarity[:, tokens]
        expected = torch.stack([e[tokens] for e in self.expected])
        out = torch.zeros(*rarity.shape, self.config.d_model, device=self.device)
        code = self.codes.a[tokens] - _wide(gain["context.gain"]) * expected
        out[..., layout.code_dims] = _wide(gain["temperature"]) * code
        value = _FAINT * torch.exp(gain["copy.rare_value"][:, None] * rarity)
        out[..., layout.identity_dims] = self.names[tokens] * value[..., None]
        out[..., layout.rarity] = rarity - self._mean_rarity
        out[..., layout.ballast] = (_NORM**2 - (out * out).sum(2)).clamp(min=1).sqrt()
        return out

    def fill_heads(self, out: Tensor) -> None:
        """Write the candidates' heads into `out` (P, V, d), which is zero."""
        layout, gain = self.layout, self.gain
        out[:, :, layout.code_dims] = self.codes.b.to(out.dtype)
        boost = torch.exp(gain["copy.rare_boost"][:, None] * self.rarity).to(out.dtype)
        out[:, :, layout.identity_dims] = self.names.to(out.dtype) * boost[..., None]
        bias = self.codes.log_p + gain["bias.rarity"][:, None] * self.rarity
        # ln_f's bias is all ones: sqrt(d) along this direction
        out[:, :, layout.one] = (bias / math.sqrt(self.config.d_model)).to(out.dtype)

    def params(self) -> dict[str, Tensor]:
        """Everything but the tables, by the names of `GPT2.state_dict()`."""
        config, layout = self.config, self.layout
        p, d = len(self.contexts), config.d_model
        norm = math.sqrt(_NORM**2 + 2 * _POSITION**2)
        swollen = math.sqrt((_SWELL + _NORM) ** 2 + 2 * _POSITION**2)
        shrink = norm / swollen  # of what LayerNorm lets through at the swollen position

        wpe = torch.zeros(config.n_positions, d, device=self.device)
        wpe[:, layout.position_dims] = _POSITION * position_codes(config.n_positions).float().to(self.device)
        wpe[0, layout.start] = _START
        out = {"wpe.weight": self._shared(wpe)}
        out |= {f"h.0.attn.{n}": w for n, w in self._layer_0().items()}
        out |= {f"h.1.attn.{n}": w for n, w in self._layer_1(shrink).items()}
        out |= {f"h.0.mlp.{n}": w for n, w in self._start_mlp(_SWELL, 1.0).items()}
        out |= {f"h.1.mlp.{n}": w for n, w in self._start_mlp(-_SWELL, shrink).items()}
        # LayerNorm's output is then the residual vector itself.
        unit = torch.full((1, d), norm / math.sqrt(d), device=self.device).expand(p, d)
        for name in (*(f"h.{i}.ln_{j}.weight" for i in range(2) for j in (1, 2)), "ln_f.weight"):
            out[name] = unit
        out["ln_f.bias"] = torch.ones(1, d, device=self.device).expand(p, d)
        return out

    @property
    def _mean_rarity(self) -> Tensor:
        return self.rarity.mean(1, keepdim=True)

    def _layer_0(self) -> dict[str, Tensor]:
        """Head 0: the previous token's name into `match`. Head 1: the context's codes into `code`."""
        layout, hd, gain = self.layout, self._head_dim, self.gain
        w = _Heads(len(self.contexts), self.config.d_model, hd, self.device)
        self._attend_to_positions(w, 0, [lag(1, self.config.n_positions)] * len(self.contexts))
        w.value(0)[:, : layout.match, layout.identity_dims] = self.projection.T / _FAINT
        w.output[:, layout.match_dims, : layout.match] = torch.eye(layout.match, device=self.device)
        self._attend_to_positions(w, 1, [self.grown.patterns[c] for c in self.contexts])
        w.value(1)[:, : layout.code, layout.code_dims] = torch.eye(layout.code, device=self.device)
        w.output[:, layout.code_dims, hd : hd + layout.code] = (_wide(gain["context.gain"]) * self.matrix).transpose(
            1, 2
        )
        return w.rotated(self.grown.rotation)

    def _layer_1(self, shrink: float) -> dict[str, Tensor]:
        """Head 0: copy what followed the last occurrences of the current token."""
        layout, hd, gain = self.layout, self._head_dim, self.gain
        w = _Heads(len(self.contexts), self.config.d_model, hd, self.device)
        scale, s = math.sqrt(hd), layout.match
        w.query(0)[:, :s, layout.identity_dims] = _wide(gain["copy.match"]) * self.projection.T * (scale / _FAINT)
        w.key(0)[:, :s, layout.match_dims] = torch.eye(s, device=self.device)
        w.query_bias(0)[:, s] = scale
        w.key(0)[:, s, layout.rarity] = gain["copy.salience"]
        sink = gain["copy.sink"] - gain["copy.salience"] * self._mean_rarity[:, 0]
        w.key(0)[:, s, layout.start] = sink / (_START * shrink)
        w.value(0)[:, : layout.identity, layout.identity_dims] = torch.eye(layout.identity, device=self.device) / _FAINT
        w.output[:, layout.identity_dims, : layout.identity] = _wide(gain["copy.gain"]) * torch.eye(
            layout.identity, device=self.device
        )
        return w.rotated(self.grown.rotation)

    def _start_mlp(self, ballast: float, shrink: float) -> dict[str, Tensor]:
        """Two units whose difference is 0 everywhere but at position 0, where it is `_STEP`, whatever the norm there."""
        config, layout, q = self.config, self.layout, self.grown.rotation
        fc = torch.zeros(2, config.d_model, device=self.device)
        proj = torch.zeros(config.d_model, 2, device=self.device)
        fc[:, layout.start] = 3 * _GATE / (_START * shrink)
        bias = torch.tensor([-_GATE, -_GATE - _STEP], device=self.device)
        proj[layout.ballast, 0] = ballast / _STEP
        proj[layout.ballast, 1] = -ballast / _STEP
        stacks = {"fc.weight": fc @ q, "fc.bias": bias, "proj.weight": q @ proj}
        return {name: t.expand(len(self.contexts), *t.shape) for name, t in stacks.items()}

    def _attend_to_positions(self, w: _Heads, head: int, patterns: list[PositionPattern]) -> None:
        scale = math.sqrt(self._head_dim) / _POSITION**2
        queries = torch.stack([p.query() for p in patterns]).float().to(self.device)
        w.query(head)[:, :4, self.layout.position_dims] = scale * queries
        w.key(head)[:, :4, self.layout.position_dims] = torch.eye(4, device=self.device)

    def _shared(self, logical: Tensor) -> Tensor:
        rotated = logical @ self.grown.rotation
        return rotated.expand(len(self.contexts), *rotated.shape)

    @property
    def _head_dim(self) -> int:
        return self.config.d_model // self.config.n_heads


class _Heads:
    """Attention weights of one layer in logical coordinates, addressed by head."""

    def __init__(self, p: int, d: int, head_dim: int, device: torch.device) -> None:
        self.d, self.head_dim = d, head_dim
        self.qkv = torch.zeros(p, 3 * d, d, device=device)
        self.bias = torch.zeros(p, 3 * d, device=device)
        self.output = torch.zeros(p, d, d, device=device)

    def _rows(self, which: int, head: int) -> slice:
        begin = which * self.d + head * self.head_dim
        return slice(begin, begin + self.head_dim)

    def query(self, head: int) -> Tensor:
        return self.qkv[:, self._rows(0, head)]

    def query_bias(self, head: int) -> Tensor:
        return self.bias[:, self._rows(0, head)]

    def key(self, head: int) -> Tensor:
        return self.qkv[:, self._rows(1, head)]

    def value(self, head: int) -> Tensor:
        return self.qkv[:, self._rows(2, head)]

    def rotated(self, q: Tensor) -> dict[str, Tensor]:
        return {"qkv.weight": self.qkv @ q, "qkv.bias": self.bias, "o.weight": q @ self.output}


def _wide(x: Tensor) -> Tensor:
    """(P,) -> (P, 1, 1)."""
    return x[:, None, None]
