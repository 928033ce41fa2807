"""From genomes to mixtures: experts' probabilities are computed once, and shared by all genomes that use them.

Weights are fitted by EM on the fitness text, for each setting of the memory's genes, with the hand-set grown model in its
place. What such a mixture gives a token is then a line a + b p in the probability p of any other grown model, so that a
candidate costs one multiplication and a share of a logarithm a token (`line_losses`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from clso.device import sent
from clso.grown.counted_text import CountedText
from clso.grown.discounts import discounts
from clso.grown.experts import (
    Observed,
    OrderTerms,
    SkipTerms,
    Terms,
    assemble,
    skip_terms,
    split_blocks,
    unigram_terms,
)
from clso.grown.log_bilinear import LogBilinear
from clso.grown.mixture import mix, mixed_around
from clso.grown.own_past import PastShares, Voters
from clso.grown.pruning import Pruning
from clso.grown.recipes import Recipe
from clso.grown.skips import SkipContext
from clso.grown.usual import skip_contexts
from clso.search_spaces.gpt2_memory.touched import TouchedOrder, touched_orders

__all__ = ["Blocks", "line_losses", "lines"]

_TOGETHER = 8  # probabilities that are multiplied before a logarithm is taken: 1e-30 each is still a float64
_ELEMENTS = 1 << 27  # of a tensor over stages, mixtures and positions


class _Discounting(NamedTuple):
    """How one order is discounted and pruned."""

    discount: float
    cut: int
    threshold: float

    @classmethod
    def of(cls, k: int, pruning: Pruning) -> _Discounting:
        """Order k's, from 2."""
        cut, threshold = (v[min(k - 2, len(v) - 1)] for v in (pruning.cut, pruning.threshold))
        return cls(pruning.discount, int(cut), threshold)


class Blocks:
    """Fixed token blocks (N, T + 1), and all that has been computed about them."""

    def __init__(
        self, text: CountedText, blocks: Tensor, bilinear: LogBilinear | None = None
    ) -> None:
        self.text, self.blocks = text, blocks
        self._bilinear = bilinear.target_probabilities(blocks) if bilinear else None
        self._unigrams: dict[float, Tensor] = {}
        self._terms: dict[tuple[int, _Discounting], OrderTerms] = {}
        self._skips: dict[tuple[SkipContext, int], SkipTerms] = {}
        self._past: dict[Voters, tuple[Tensor, Tensor]] = {}
        self._features: PastShares | None = None
        self._touched: list[TouchedOrder] | None = None
        self._off: dict[tuple[int, float], Tensor] = {}

    def observed(
        self, recipes: Sequence[Recipe], prunings: Sequence[Pruning], layout: Recipe
    ) -> Observed:
        """What the recipes' experts give the targets; rows of weights are `layout`'s."""
        return assemble(recipes, self.terms(recipes, prunings), layout)

    def terms(self, recipes: Sequence[Recipe], prunings: Sequence[Pruning]) -> list[Terms]:
        """What the recipes' tables say. What several need is looked up together: a GPU's time here is that of starting
        operations."""
        both = list(zip(recipes, prunings, strict=True))
        self._know_past([v for r in recipes for v in (*r.shares, *r.matches)])
        for k in range(2, max(r.order for r in recipes) + 1):
            self._know_order(k, [_Discounting.of(k, p) for r, p in both if r.order >= k])
        return [self._said(r, p) for r, p in both]

    def at_once(self, layout: Recipe) -> int:
        """How many mixtures are computed together. One on a CPU, which gains nothing by more."""
        if not self.blocks.is_cuda:
            return 1
        return max(1, _ELEMENTS // (len(layout.stages) * self.blocks[:, 1:].numel()))

    def _said(self, recipe: Recipe, pruning: Pruning) -> Terms:
        orders = range(2, recipe.order + 1)
        return Terms(
            self._unigram(pruning.discount),
            [self._terms[k, _Discounting.of(k, pruning)] for k in orders],
            [self._skip(c, pruning.skip_cut) for c in skip_contexts(recipe)],
            self._past_of((*recipe.shares, *recipe.matches)),
            self._bilinear if recipe.bilinear else None,
        )

    def _unigram(self, discount: float) -> Tensor:
        if discount not in self._unigrams:
            table = self.text.unigram(discount)
            self._unigrams[discount] = unigram_terms(table, self.blocks[:, 1:])
        return self._unigrams[discount]

    def _know_order(self, k: int, wanted: Sequence[_Discounting]) -> None:
        """One order's terms, discounted and pruned in each of the ways."""
        new = [way for way in dict.fromkeys(wanted) if (k, way) not in self._terms]
        if not new:
            return
        off = torch.stack([self._discounts(k, way.discount) for way in new])
        found = self._touch()[k - 2].terms(off, [w.cut for w in new], [w.threshold for w in new])
        self._terms |= {(k, way): terms for way, terms in zip(new, found, strict=True)}

    def _discounts(self, k: int, scale: float) -> Tensor:
        if (k, scale) not in self._off:
            level = self.text.counts.levels[k - 1]
            both = torch.stack([discounts(n, scale) for n in level.counts_of_counts])
            self._off[k, scale] = sent(both, self.blocks.device)
        return self._off[k, scale]

    def _touch(self) -> list[TouchedOrder]:
        if self._touched is None:
            text, v = self.text, self.text.corpus.vocab_size
            _, tables = text.tables(1.0)
            levels = text.counts.levels[1:]
            self._touched = touched_orders(tables, levels, text.costs, self.blocks, v)
        return self._touched

    def _skip(self, context: SkipContext, cut: int) -> SkipTerms:
        if (context, cut) not in self._skips:
            text = self.text
            classes = text.classes if context.classed else None
            self._skips[context, cut] = skip_terms(
                text.skips(context, cut), self.blocks, text.corpus.vocab_size, classes
            )
        return self._skips[context, cut]

    def _know_past(self, voters: Sequence[Voters]) -> None:
        new = tuple(v for v in dict.fromkeys(voters) if v not in self._past)
        if new or self._features is None:
            count = self.text.counts.levels[0].count
            parts = [PastShares.of(new, part, count) for part in split_blocks(self.blocks)]
            joined = PastShares.joined(parts)
            self._features = self._features or joined
            said = zip(joined.shares, joined.spoken, strict=True)
            self._past |= dict(zip(new, said, strict=True))

    def _past_of(self, voters: tuple[Voters, ...]) -> PastShares:
        assert self._features is not None
        shares, spoken = zip(*(self._past[v] for v in voters), strict=True) if voters else ((), ())
        return PastShares(shares, spoken, self._features.longest, self._features.number)


def lines(observed: Observed, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Mixtures as a + b p in the grown model's probabilities p: two (C, n) float64."""
    parts = (observed.base, observed.experts, observed.slots, weights)
    if observed.grown_stage is None:
        a = mix(*parts)
        return a, torch.zeros_like(a)
    return mixed_around(*parts, observed.grown_stage)


def line_losses(a: Tensor, b: Tensor, grown: Tensor) -> Tensor:
    """Mean losses (P,) float64 of P mixtures a + b p: three (P, n) or (n,) float64."""
    p = torch.addcmul(a, b, grown)
    n = p.shape[-1]
    whole = n - n % _TOGETHER
    product = p[..., :whole].reshape(*p.shape[:-1], -1, _TOGETHER).prod(-1)
    total: Tensor = product.log().sum(-1) + p[..., whole:].log().sum(-1)
    return -total / n
