"""What is grown for the `gpt2` space from one text: codes of each family, and a value map for each
context behind them.

Everything is grown when it is first asked for, into stacks that stay where they are, so that
candidates pick from them by index, whatever mix of crystals a batch has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from clso.grown.codes import CodeFamily, Codes, grow_codes
from clso.grown.context import ValueMap, fit_value_maps, low_rank
from clso.grown.corrections import compensated, fit_corrections
from clso.grown.counted import bigram_counts, tokens_on
from clso.grown.features import RandomFeatures, fit_features, random_features
from clso.grown.names import PairDetectors, detectors, token_names
from clso.grown.patterns import decaying, lag
from clso.grown.statistics import PairCounts, kneser_ney
from clso.grown.trigrams import PairTargets, rank_pairs
from clso.search_spaces.gpt2.genes import (
    CONTEXTS,
    GAIN_VALUES,
    MLPS,
    code_families,
    layout_of,
)
from clso.search_spaces.gpt2.heads import vector_norm
from clso.space.language import LanguageModelSpace, token_blocks

__all__ = ["GrownCrystals"]

# a value map has a few thousand entries: more tokens than this do not show in the loss
_MAP_TOKENS = 1 << 18


class GrownCrystals:
    """Crystals from one split of a corpus, for E code families, C contexts, rank K, heads that carry R
    dimensions of a code, names of D dimensions, and N pairs that neurons fire on.

    `a`, `b` (E, V, K) are context and target codes, `log_p` (E, V) the biases that go with them,
    `row` (V,) the tokens' occurrences, `names` (V, D); `reads` (E, C, K, R) say what of a code is
    averaged, `maps` (E, C, R, K) what that adds, `expected` (E, C, V, K) what of it a token leads one
    to expect; `corrections` (E, N, K) what a neuron adds to its pair's code. What was not grown is zero."""

    def __init__(
        self,
        space: LanguageModelSpace,
        split: str,
        contexts: Sequence[int] | None = None,
        n_neurons: int = 0,
    ) -> None:
        """`contexts` are the patterns to fit value maps for, all by default; `n_neurons` is the most
        neurons to fit."""
        self._space, self._split = space, split
        config, device = space.config, torch.device(space.context.device)
        self.layout, self.families = layout_of(config), code_families(config)
        t, v, k = config.n_positions, config.vocab_size, self.layout.code
        self.patterns = [
            lag(int(size), t) if kind == "lag" else decaying(size, t) for kind, size in CONTEXTS
        ]
        self._contexts = list(range(len(self.patterns)) if contexts is None else contexts)
        self._attentions = torch.stack([self.patterns[c].weights() for c in self._contexts]).to(
            device
        )
        self._device = device
        e, c = len(self.families), len(self.patterns)
        self.a, self.b = (torch.zeros(e, v, k, device=device) for _ in "ab")
        self.log_p = torch.zeros(e, v, device=device)
        r = min(k, config.d_model // config.n_heads)
        self.reads = torch.zeros(e, c, k, r, device=device)
        self.maps = torch.zeros(e, c, r, k, device=device)
        self.expected = torch.zeros(e, c, v, k, device=device)
        self.names = token_names(v, self.layout.identity, self.layout.match, device)
        self._n_neurons = n_neurons
        self._codes: dict[int, Codes] = {}
        self._units: dict[tuple[int, int, int], tuple[RandomFeatures, Tensor]] = {}

    @cached_property
    def pairs(self) -> PairCounts:
        """Bigram counts of the split."""
        return bigram_counts(self._space.corpus, self._split, self._device)

    @cached_property
    def row(self) -> Tensor:
        return self.pairs.row_sums()

    @cached_property
    def remembered(self) -> tuple[PairTargets, PairDetectors]:
        """The pairs that neurons fire on, those with the largest expected gain first, and their
        units."""
        first = self.families[0]
        statistics = kneser_ney(self.pairs, discount=first.discount, smoothing=first.smoothing)
        tokens = tokens_on(self._space.corpus, self._split, self._device)
        # some more than are wanted, for names do not tell all pairs apart
        found = rank_pairs(tokens, statistics, self._n_neurons * 3 // 2)
        units = detectors(self.names, self.layout.match, found.previous, found.current)
        kept = units.separable.nonzero().flatten()[: self._n_neurons]
        return found.at(kept), units.at(kept)

    @cached_property
    def corrections(self) -> Tensor:
        return torch.zeros(
            len(self.families),
            len(self.remembered[0]) if self._n_neurons else 0,
            self.layout.code,
            device=self._device,
        )

    @cached_property
    def mean_rarity(self) -> list[float]:
        """The mean of -log(1 + count / half_count) over the text's tokens, for each allele of the
        half count."""
        row = self.row.double()  # (V,)
        half_count = torch.tensor(
            GAIN_VALUES["rarity.half_count"], dtype=torch.float64, device=self._device
        )
        rarity = torch.log1p(row / half_count[:, None])  # (alleles, V), its sign turned
        mean: list[float] = (-(rarity * row).sum(1) / row.sum()).tolist()
        return mean

    def codes(self, family: CodeFamily) -> Codes:
        """Codes of a family, which need not be one that genes pick from."""
        if family not in self.families:
            return grow_codes(self.pairs, family)
        place = self.families.index(family)
        self.grow([place])
        return self._codes[place]

    def grow(self, families: Iterable[int]) -> None:
        """Grow what families need and is not there yet: codes, and value maps for the contexts."""
        for family in sorted(set(families) - set(self._codes)):
            codes = grow_codes(self.pairs, self.families[family])
            self.a[family], self.b[family], self.log_p[family] = codes.a, codes.b, codes.log_p
            fitted = fit_value_maps(self._blocks, self._attentions, codes.a, codes.b)
            # one head carries the average code
            reads, maps, expected = low_rank(fitted, codes.a, self.row, self.maps.shape[2])
            self.reads[family, self._contexts] = reads
            self.maps[family, self._contexts] = maps
            self.expected[family, self._contexts] = expected
            if self._n_neurons:
                targets = self.remembered[0]
                added = fit_corrections(targets, codes.a, codes.b, codes.log_p, self.row)
                norm = vector_norm(self._space.config.d_model)
                self.corrections[family] = compensated(added, codes.a[targets.current], norm)
            self._codes[family] = codes

    def units(self, family: int, context: int, mlp: int) -> tuple[RandomFeatures, Tensor]:
        """Hidden units of an MLP allele behind a context pattern, and their output map."""
        key = (family, context, mlp)
        if key not in self._units:
            self.grow([family])
            kind, n_units = MLPS[mlp]
            codes = self._codes[family]
            features = random_features(kind, n_units, codes.a, codes.statistics.row)
            attention = self._attentions[self._contexts.index(context)]
            matrix = self.reads[family, context] @ self.maps[family, context]
            value_map = ValueMap(matrix, self.expected[family, context])
            fitted = fit_features(self._blocks, attention, codes.a, codes.b, value_map, features)
            self._units[key] = features, fitted
        return self._units[key]

    @cached_property
    def _blocks(self) -> Tensor:
        """Token blocks of the split for fitting value maps, on the device; a long text is sampled
        evenly."""
        t = self._space.config.n_positions
        tokens: np.ndarray[Any, Any] = np.asarray(self._space.corpus.tokens(self._split))
        return token_blocks(tokens, t, max(1, _MAP_TOKENS // t)).to(self._device)
