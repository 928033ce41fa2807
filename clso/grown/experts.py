"""What the experts of a counted memory give the targets of token blocks: of one mixture, or of many at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.device import sent
from clso.grown.counted_memory import CountedMemory
from clso.grown.discounts import TYPE_CLASSES, NGramTable, UnigramTable, context_ids
from clso.grown.ngrams import find_keys, look_up
from clso.grown.own_past import PastShares
from clso.grown.recipes import (
    BILINEAR,
    GROWN,
    PLACES,
    Recipe,
    bucket,
    least_match,
    log_class,
    match_class,
)
from clso.grown.skips import SkipTable

__all__ = [
    "Observed",
    "OrderTerms",
    "SkipTerms",
    "Terms",
    "assemble",
    "observe",
    "order_terms",
    "skip_terms",
    "split_blocks",
    "unigram_terms",
]

_BLOCKS_AT_ONCE = {"cpu": 64, "cuda": 1024}


def split_blocks(blocks: Tensor) -> tuple[Tensor, ...]:
    """Token blocks in parts that are looked at together."""
    parts: tuple[Tensor, ...] = torch.split(blocks, _BLOCKS_AT_ONCE.get(blocks.device.type, 64))
    return parts


@dataclass(frozen=True)
class Observed:
    """What C mixtures' experts give the n targets of token blocks: what `clso.grown.mixture` takes.

    Attributes
    ----------
    base : (C, n) float64. experts, slots : (S, C, n) float64 and int64.
    grown_stage : the row of `experts` where a grown model's probabilities belong (None if no recipe has any); zeros so far.
    """

    base: Tensor
    experts: Tensor
    slots: Tensor
    grown_stage: int | None

    def fill_in(self, grown: Tensor) -> None:
        """Put in a grown model's probabilities (n,) or (C, n)."""
        if self.grown_stage is not None:
            self.experts[self.grown_stage] = grown

    def at(self, targets: Tensor) -> Observed:
        """The same mixtures at some of the targets."""
        base, experts, slots = (p[..., targets] for p in (self.base, self.experts, self.slots))
        return Observed(base, experts, slots, self.grown_stage)

    @classmethod
    def joined(cls, parts: Sequence[Observed]) -> Observed:
        """The same mixtures on several texts, one after the other."""
        if len(parts) == 1:
            return parts[0]
        every = [(p.base, p.experts, p.slots) for p in parts]
        base, experts, slots = (torch.cat(own, -1) for own in zip(*every, strict=True))
        return cls(base, experts, slots, parts[0].grown_stage)


@dataclass(frozen=True)
class OrderTerms:
    """What one order's table says at each position (N, T).

    Attributes
    ----------
    shares : (4, N, T) float64, the target's raw and continued share, and the context's raw and continued mass. An unknown
        context has none of either.
    kind : the context's count class, int64.
    """

    shares: Tensor
    kind: Tensor


@dataclass(frozen=True)
class SkipTerms:
    """What a skip table says: the target's share, float64, and the context's count class, 0 if it has nothing."""

    share: Tensor
    kind: Tensor


@dataclass(frozen=True)
class Terms:
    """What all tables of a recipe, and the block's past, say at each position (N, T).

    Attributes
    ----------
    unigram : (2, N, T) float64, the target's raw and continued probability.
    orders : from order 2. skips : the tables of tokens, then those with classes.
    past : the recipe's shares, then its matches.
    bilinear : (N, T) float64, the target's probability by the log-bilinear expert, if there is one.
    """

    unigram: Tensor
    orders: Sequence[OrderTerms]
    skips: Sequence[SkipTerms]
    past: PastShares
    bilinear: Tensor | None = None


def unigram_terms(unigram: UnigramTable, targets: Tensor) -> Tensor:
    """`Terms.unigram` of targets (N, T)."""
    return torch.stack([unigram.raw[targets], unigram.continued[targets]])


def order_terms(tables: Sequence[NGramTable], blocks: Tensor, vocab_size: int) -> list[OrderTerms]:
    """The terms of orders 2, 3, ... on token blocks (N, T + 1)."""
    tokens, targets = blocks[:, :-1].contiguous(), blocks[:, 1:].contiguous()
    out = []
    contexts = context_ids(tables, tokens, vocab_size)
    for table, context in zip(tables, contexts, strict=True):
        key = torch.where(context >= 0, context * vocab_size + targets, -1)
        entry = find_keys(table.keys, key)
        found = [look_up(values, entry, 0.0) for values in (table.raw, table.continued)]
        found += [look_up(mass, context, 0.0) for mass in table.mass.unbind(1)]
        kind = look_up(table.count_class, context, 0).long()
        out.append(OrderTerms(torch.stack(found).double(), kind))
    return out


def skip_terms(
    table: SkipTable, blocks: Tensor, vocab_size: int, classes: Tensor | None = None
) -> SkipTerms:
    """The terms of a skip table on token blocks (N, T + 1)."""
    tokens, targets = blocks[:, :-1].contiguous(), blocks[:, 1:].contiguous()
    context = table.contexts(tokens, vocab_size, classes)
    key = torch.where(context >= 0, context * vocab_size + targets, -1)
    share = look_up(table.share, find_keys(table.keys, key), 0.0).double()
    return SkipTerms(share, look_up(table.count_class, context, 0).long())


def observe(memory: CountedMemory, recipe: Recipe, blocks: Tensor) -> Observed:
    """The experts on token blocks (N, T + 1), on the blocks' device, which is the memory's."""
    recipe.require(memory)
    v, parts = memory.vocab_size, []
    tables = memory.skip_tables(recipe.n_skips, recipe.n_classed)
    for part in split_blocks(blocks.long()):
        terms = Terms(
            unigram_terms(memory.unigram, part[:, 1:]),
            order_terms(memory.tables[: recipe.order - 1], part, v),
            [skip_terms(table, part, v, memory.classes) for table in tables],
            PastShares.of((*recipe.shares, *recipe.matches), part, memory.count),
            _bilinear(memory, recipe, part),
        )
        parts.append(assemble([recipe], [terms], recipe))
    return Observed.joined(parts)


def _bilinear(memory: CountedMemory, recipe: Recipe, blocks: Tensor) -> Tensor | None:
    return (
        memory.bilinear.target_probabilities(blocks)
        if memory.bilinear and recipe.bilinear
        else None
    )


def assemble(recipes: Sequence[Recipe], terms: Sequence[Terms], layout: Recipe) -> Observed:
    """The experts of C recipes out of what their tables say of the same token blocks.

    A row of weights is that of `layout`, which covers the recipes (`Recipe.covering`). There are as many operations for all
    recipes as for one: a GPU's time here is that of starting them.
    """
    wide, begins = Recipe.covering(recipes), layout.begins
    device, n_slots = terms[0].unigram.device, sum(layout.sizes)
    begin = sent(torch.tensor([begins[stage] for stage in wide.stages]), device)[:, None, None]
    flags = [(r.rule == "full", r.rule != "one", r.grown, r.bilinear, r.explicit) for r in recipes]
    full, some, grown, bilinear, explicit = sent(torch.tensor(flags), device)[:, :, None].unbind(
        1
    )  # (C, 1) each
    experts: list[Tensor] = []
    slots: list[Tensor] = []

    def add(p: Tensor, speaks: Tensor, own: Tensor) -> None:
        """The next stages: (s, C, n) each, or what is broadcast to it."""
        at = sum(map(len, experts))
        slot = torch.where(speaks, own + begin[at : at + len(p)], n_slots)
        experts.append(p)
        slots.append(slot.expand_as(p))

    base, lower = _stacked([[t.unigram] for t in terms])[0].unbind(1)
    found = torch.ones_like(lower, dtype=torch.long)
    total = torch.zeros_like(found)
    orders = [t.orders[: r.order - 1] for r, t in zip(recipes, terms, strict=True)]
    n_orders = wide.order - 1
    if n_orders:
        shares = _stacked([[order.shares for order in own] for own in orders])
        raw, continued, mass, _ = shares.unbind(2)  # (K, C, n) each
        left, continued_left = (1 - shares[:, :, 2:]).unbind(2)
        smoothed = torch.empty_like(left)
        for k in range(n_orders):
            torch.addcmul(raw[k], left[k], lower, out=smoothed[k])
            lower = torch.addcmul(continued[k], continued_left[k], lower)
        heard = mass > 0
        counts = _stacked([[order.kind for order in own] for own in orders]) * heard
        number = torch.arange(2, wide.order + 1, device=device)[:, None, None]
        found = (heard * number).amax(0).clamp_(min=1)
        total = counts[0] // TYPE_CLASSES
        counts *= some
        add(smoothed, heard, counts)
    plain = [t.skips[: r.n_skips] for r, t in zip(recipes, terms, strict=True)]
    classed = [t.skips[r.n_skips :] for r, t in zip(recipes, terms, strict=True)]
    for tables in (plain, classed):
        if any(tables):
            kind = _stacked([[table.kind for table in own] for own in tables])
            share = _stacked([[table.share for table in own] for own in tables])
            add(share, kind > 0, kind * some)
    if wide.grown:
        at = sum(map(len, experts))
        add(torch.zeros_like(base)[None], grown, bucket(GROWN, total, found, full, some)[None])
    if wide.bilinear:
        own = [
            [t.bilinear] if r.bilinear and t.bilinear is not None else []
            for r, t in zip(recipes, terms, strict=True)
        ]
        add(_stacked(own), bilinear, bucket(BILINEAR, total, found, full, some)[None])
    past = terms[0].past  # whose features are all recipes'
    votes = [list(zip(t.past.shares, t.past.spoken, strict=True)) for t in terms]
    shares_of = [own[: len(r.shares)] for r, own in zip(recipes, votes, strict=True)]
    matches_of = [own[len(r.shares) :] for r, own in zip(recipes, votes, strict=True)]
    if wide.shares:
        place = torch.arange(past.longest.shape[1], device=device).expand_as(past.longest)
        fine = log_class(place, PLACES).flatten()
        add(*_votes(shares_of), bucket("share", fine, found, full, some))
    if wide.explicit and n_orders:
        add(raw / mass.clamp(min=1e-30), heard & explicit, counts)
    if wide.matches:
        numbers = [
            past.number[least_match(r, i) - 1] for i in range(len(wide.matches)) for r in recipes
        ]
        number = torch.stack(numbers).view(len(wide.matches), len(recipes), -1)
        fine, coarse = match_class(number, found), past.longest.flatten()
        add(*_votes(matches_of), bucket("match", fine, coarse, full, some))
    if not experts:
        experts, slots = [base.new_empty(0, *base.shape)], [found.new_empty(0, *base.shape)]
    return Observed(base, torch.cat(experts), torch.cat(slots), at if wide.grown else None)


def _stacked(own: Sequence[Sequence[Tensor]]) -> Tensor:
    """For each recipe the (..., N, T) of its stages -> (S, C, ..., N T); zeros for a recipe that has fewer stages."""
    n = max(map(len, own))
    some = next(row[0] for row in own if row)
    blank = some if all(len(row) == n for row in own) else torch.zeros_like(some)
    flat = [row[i] if i < len(row) else blank for i in range(n) for row in own]
    return torch.stack(flat).view(n, len(own), *some.shape[:-2], -1)


def _votes(own: Sequence[Sequence[tuple[Tensor, Tensor]]]) -> tuple[Tensor, Tensor]:
    """Shares and whether anything speaks, (S, C, n) each."""
    shares, spoken = ([[pair[i] for pair in row] for row in own] for i in (0, 1))
    return _stacked(shares).double(), _stacked(spoken)
