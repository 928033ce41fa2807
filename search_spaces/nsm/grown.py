"""Grown Neural State Machines: bigram codes in embedding and head, and read-outs fitted in closed
form, those of a winner then together (`clso.search_spaces.nsm.read_outs`).

Router, gate and communication crystals make a mixer a reservoir: nothing in it is trained. What its
read-out should add to the code is the within-token ridge regression of `clso.grown.context` on what
the read-out would see. Layers are fitted in turn, each on what those before it leave unexplained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clso.crystals import CrystalLibrary
from clso.grown.codes import CodeFamily, Codes, grow_codes
from clso.grown.context import ValueMap, fit_map
from clso.grown.counted import bigram_counts
from clso.grown.statistics import PairCounts
from clso.models.layers import ResidualBlock, sinusoids
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.nsm_mixer import StateMixer
from clso.search_spaces.nsm.costs import nsm_costs
from clso.search_spaces.nsm.genes import (
    GAINS,
    N_CRYSTALS,
    TEMPERATURES,
    LayerPicks,
    Shape,
    code_families,
    default_genome,
    grown_genes,
    layers_of,
    shape_of,
    shared_alleles,
)
from clso.search_spaces.nsm.read_outs import fit_read_outs, n_tokens
from clso.search_spaces.nsm.wiring import SCALE, Wiring, plain_mixer, plain_nsm
from clso.space import Gene, Genome
from clso.space.language import LanguageModelSpace, token_blocks

if TYPE_CHECKING:
    from typing_extensions import Self  # in `typing` from Python 3.11 on

__all__ = ["GrownNSM"]

# the ridge, as a share of the mean eigenvalue, is so many over those that are fitted on
_RIDGE_TOKENS = 1 << 15
_DAMPING = 2.0  # share of the mean eigenvalue
_PASS_TOKENS = 1 << 13  # that go through a mixer at once
_KEPT = 64  # fitted read-outs in memory, 2 MB each at a vocabulary of 4096
_STREAMS = 16  # what first layers make of the text for fitting, 4 MB each


@dataclass(frozen=True)
class GrownCodes:
    """Codes `a`, `b` (V, K) by falling variance of `a`, `log_p` (V,), the covariance (K, K) of
    codes over the text, and that of the next token's code within each token."""

    a: Tensor
    b: Tensor
    log_p: Tensor
    spread: Tensor
    within: Tensor


class Heard(NamedTuple):
    """What some blocks of text are to the next layer: the stream (n, T, d_model), and how much of
    the next token's code (n, T, K) the layers before it have said; None if there are none."""

    stream: Tensor
    said: Tensor | None


class GrownNSM:
    """Genomes -> NSMs, from one split of a corpus."""

    def __init__(
        self,
        space: LanguageModelSpace,
        split: str = "statistics",
        *,
        n_tokens: int = 1 << 13,
    ) -> None:
        """A read-out is fitted on `n_tokens`."""
        self.space, self.config, self._split = space, space.config, split
        self._n_tokens = n_tokens
        self.device = torch.device(space.context.device)
        self._wiring = Wiring(self.config, CrystalLibrary(N_CRYSTALS, seed=space.context.seed))
        self.genes: tuple[Gene, ...] = grown_genes(self.config, self._wiring.code)
        self._codes = lru_cache(None)(self._grow)
        self._fitted = lru_cache(_KEPT)(self._fit)
        self._streams = lru_cache(_STREAMS)(self._stream)
        self._starts = lru_cache(None)(lambda family: self._wiring.embedding(self._codes(family).a))

    def prepare(self) -> None:
        for genome in self.seeds():
            self.model(genome)

    def seeds(self) -> list[Genome]:
        return default_genome(self.config)

    def descriptors(self) -> list[np.ndarray[Any, Any] | None]:
        """Temperature and gains tell the surrogate their value and its square; the rest is one-hot
        only."""
        gains = {"temperature": TEMPERATURES, "gain": GAINS}
        out: list[np.ndarray[Any, Any] | None] = []
        for gene in self.genes:
            values = np.array(gains.get(gene.name.split(".")[-1], ()), dtype=np.float32)
            out.append(np.stack([values, values**2], axis=1) if len(values) else None)
        return out

    def on_all_text(self, genome: Genome) -> Self:
        """The same families, grown on statistics and fitness text together, from more of it."""
        return type(self)(self.space, "train", n_tokens=1 << 17)

    def final_model(self, genome: Genome) -> SimpleNSM:
        """The genome grown on all text, its read-outs then fitted together."""
        grown = self.on_all_text(genome)
        model = grown.model(genome)
        fit_read_outs(model, self._wiring, grown._text(n_tokens(model.config)))
        return model

    def codes(self, family: CodeFamily) -> Codes:
        """Codes of a family, which need not be one that genes pick from."""
        return grow_codes(self._pairs, family)

    def token_vectors(self) -> Tensor:
        """The codes (V, K) of the first default genome."""
        return self._codes(shared_alleles(self.seeds()[0])["codes"]).a

    @torch.no_grad()
    def model(self, genome: Genome) -> SimpleNSM:
        """One genome as a module on the search's device."""
        allele = shared_alleles(genome)
        codes, shape = self._codes(allele["codes"]), shape_of(self.config, genome)
        model = plain_nsm(self.nsm_config(shape))
        code = codes.a  # (V, K)
        picks: tuple[LayerPicks, ...] = ()
        for (block, mixer), (picked, gain) in zip(_layers(model), layers_of(genome), strict=True):
            block.ln_1.weight.copy_(self._wiring.norm_weight)
            if not gain:
                continue
            picks = (*picks, picked)
            fitted = self._fitted(allele["codes"], shape, picks)
            # The read-out (d_model, K) adds to the code,
            self._wire(mixer, shape, picked, codes, gain * fitted.matrix[0])
            # which starts without what it will add on average (V, K).
            code = code - gain * fitted.expected[0]
        model.embedding.weight.copy_(self._wiring.embedding(code))
        temperature = TEMPERATURES[allele["temperature"]]
        model.head.weight.copy_(self._wiring.head(temperature * codes.b, codes.log_p))
        model.norm.weight.copy_(self._wiring.norm_weight)
        model.norm.bias.fill_(1.0)
        return model.to(self.device)

    def costs(self, genome: Genome) -> dict[str, float]:
        """Of the layers with a gain; their MLPs hold nothing."""
        n_live = sum(gain > 0 for _, gain in layers_of(genome))
        return nsm_costs(self.nsm_config(shape_of(self.config, genome)), n_live, mlp=False)

    def nsm_config(self, shape: Shape) -> NSMConfig:
        c = self.config
        return NSMConfig(
            c.vocab_size,
            c.d_model,
            c.n_layers,
            shape.n_heads,
            c.n_positions,
            n_states=shape.n_states,
            gate=shape.gate,
            top_k=shape.top_k,
            chunk=shape.chunk,
        )

    def _wire(
        self,
        mixer: StateMixer,
        shape: Shape,
        picks: LayerPicks,
        codes: GrownCodes,
        read_out: Tensor,
    ) -> None:
        """Crystals into a layer, and a read-out (d_model, K)."""
        self._wiring.fill(mixer, shape, picks, codes.spread)
        mixer.out.weight.copy_(SCALE * self._wiring.axes @ read_out.T)

    @torch.no_grad()
    def _fit(self, family: int, shape: Shape, picks: tuple[LayerPicks, ...]) -> ValueMap:
        """The read-out of the last of these layers, the earlier ones at gain one."""
        codes, earlier = self._codes(family), picks[:-1]
        mixer = plain_mixer(self.nsm_config(shape))
        self._wiring.fill(mixer, shape, picks[-1], codes.spread)
        mixer.out = nn.Identity()  # type: ignore[assignment]  # what a read-out would see, as it is
        distinct, place = self._vocabulary
        blocks, n_places = place[self._blocks], len(distinct) + 1

        def regression(tokens: Tensor) -> tuple[Tensor, Tensor]:
            """What the read-out would see (1, T, B, d_model), and what it should say (T, B, K), from
            places in `_vocabulary`."""
            seen, left = [], []
            tokens, at = distinct[tokens].T, 0
            if earlier and tokens.shape == self._blocks.shape:
                heard = iter(self._streams(family, shape, earlier))
            else:
                heard = self._hear(family, shape, earlier, tokens)
            for stream, said in heard:
                part = tokens[at : at + len(stream)]
                at += len(part)
                seen.append(mixer(self._norm(stream)))
                wanted = codes.b[part[:, 1:]]
                left.append(wanted if said is None else wanted.sub_(said))
            f, r = (torch.cat(parts).transpose(0, 1).contiguous() for parts in (seen, left))
            return f[None], r

        ridge = _RIDGE_TOKENS / self._blocks[:, 1:].numel()
        fitted = fit_map(blocks, regression, n_places, ridge=ridge, damping=_DAMPING)
        return ValueMap(fitted.matrix, fitted.expected[:, place])

    def _hear(
        self, family: int, shape: Shape, picks: tuple[LayerPicks, ...], tokens: Tensor
    ) -> Iterator[Heard]:
        """What tokens (n, T + 1) are to the layer behind those of `picks`, which are at gain one."""
        codes, code = self._codes(family), self._codes(family).a
        mixers = []
        for i, picked in enumerate(picks):
            fitted = self._fitted(family, shape, picks[: i + 1])
            mixers.append(plain_mixer(self.nsm_config(shape)))
            self._wire(mixers[-1], shape, picked, codes, fitted.matrix[0])
            code = code - fitted.expected[0]
        table = self._starts(family) if code is codes.a else self._wiring.embedding(code)
        to_code = self._wiring.axes / SCALE @ codes.within
        positions = sinusoids(tokens.shape[1] - 1, self.config.d_model, table)
        for part in torch.split(tokens, max(1, _PASS_TOKENS // tokens.shape[1])):
            stream = F.embedding(part[:, :-1], table).add_(positions)
            added: Tensor | None = None
            for mixer in mixers:
                new = mixer(self._norm(stream))
                stream, added = stream + new, new if added is None else added + new
            yield Heard(stream, None if added is None else added @ to_code)

    @torch.no_grad()
    def _stream(self, family: int, shape: Shape, picks: tuple[LayerPicks, ...]) -> Sequence[Heard]:
        """`_hear` of the text for fitting: shared by all that is fitted behind these layers."""
        return list(self._hear(family, shape, picks, self._blocks))

    def _norm(self, stream: Tensor) -> Tensor:
        """A layer's norm."""
        return F.layer_norm(stream, stream.shape[-1:], self._wiring.norm_weight)

    @torch.no_grad()
    def _grow(self, family: int) -> GrownCodes:
        codes = grow_codes(self._pairs, code_families(self._wiring.code)[family])
        row = codes.statistics.row
        spread = (codes.a * row[:, None]).T @ codes.a / row.sum()
        order = torch.linalg.eigh(spread)[1].flip(1)
        a, b = codes.a @ order, codes.b @ order
        return GrownCodes(a, b, codes.log_p, order.T @ spread @ order, _within(self._blocks, b))

    @cached_property
    def _pairs(self) -> PairCounts:
        return bigram_counts(self.space.corpus, self._split, torch.device("cpu"))

    @cached_property
    def _vocabulary(self) -> tuple[Tensor, Tensor]:
        """The tokens that are there for fitting, and each token's place among them (V,); the place
        behind them all is of those that are not there, for which a fit expects the same."""
        distinct = torch.unique(self._blocks)
        place = torch.full((self.config.vocab_size,), len(distinct))
        place[distinct] = torch.arange(len(distinct))
        return distinct, place

    @cached_property
    def _blocks(self) -> Tensor:
        """Token blocks for fitting."""
        return self._text(self._n_tokens)

    def _text(self, n_tokens: int) -> Tensor:
        """So many tokens, in blocks; a long text is sampled evenly."""
        t = self.config.n_positions
        tokens: np.ndarray[Any, Any] = np.asarray(self.space.corpus.tokens(self._split))
        return token_blocks(tokens, t, max(1, n_tokens // t))


def _layers(model: SimpleNSM) -> list[tuple[ResidualBlock, StateMixer]]:
    blocks = [block for block in model.blocks if isinstance(block, ResidualBlock)]
    return list(zip(blocks, model.mixers(), strict=True))


def _within(blocks: Tensor, b: Tensor) -> Tensor:
    """Covariance (K, K) of the next token's code, within each token's occurrences."""
    now, following = blocks[:, :-1].flatten(), b[blocks[:, 1:].flatten()]
    n = torch.bincount(now, minlength=len(b)).clamp(min=1)
    sums = torch.zeros_like(b).index_add_(0, now, following)
    free = (n - 1).sum().clamp(min=1)
    return (following.T @ following - sums.T @ (sums / n[:, None])) / free
