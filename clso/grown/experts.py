"""The experts of a counted memory, in their order in the mixture, and what each gives the targets of token blocks.

Base: the unigrams. Then come Kneser-Ney of orders 2, 3, ...; the skip contexts, of tokens and then
with classes; a grown model; the block's decayed shares;
the explicit counts of orders 2, 3, ... once more, so that what they leave over goes to all of the former; the matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.counted_memory import CountedMemory
from clso.grown.discounts import (
    COUNT_CLASSES,
    TYPE_CLASSES,
    NGramTable,
    UnigramTable,
    context_ids,
)
from clso.grown.ngrams import MAX_ORDER, find_keys, look_up
from clso.grown.own_past import MAX_MATCH, PastShares, Voters
from clso.grown.skips import SkipTable

__all__ = [
    "BUCKET_RULES",
    "GROWN",
    "Features",
    "Observed",
    "OrderTerms",
    "Recipe",
    "SkipTerms",
    "Stage",
    "assemble",
    "bucket_of",
    "observe",
    "order_terms",
    "skip_place",
    "skip_terms",
]

GROWN = "grown"
BUCKET_RULES = ("full", "coarse", "one")
"""How finely weights depend on the position: all features of a stage, the first of them, none."""

_PLACES, _NUMBERS, _TOTALS = 9, 5, COUNT_CLASSES // TYPE_CLASSES


@dataclass(frozen=True)
class Stage:
    """One stage of the mixture: `kind` is "order", "skip", "class", "grown", "share", "explicit" or "match"; `index` is the
    order, or the table's or voters' place among their kind."""

    kind: str
    index: int = 0

    @property
    def name(self) -> str:
        return self.kind if self.kind == GROWN else f"{self.kind} {self.index}"


@dataclass(frozen=True)
class Recipe:
    """Which experts speak, and how their weights depend on the position.

    Attributes
    ----------
    order : highest order of the n-grams.
    n_skips, n_classed : how many of the memory's skip tables of tokens, and of those with classes.
    shares, matches : decayed shares and matches of the block's own past.
    explicit : whether the n-grams' explicit counts speak a second time, after the block's shares.
    grown : whether a grown model speaks.
    rule : one of `BUCKET_RULES`.
    """

    order: int = 6
    n_skips: int = 0
    n_classed: int = 0
    shares: tuple[Voters, ...] = ()
    matches: tuple[Voters, ...] = ()
    explicit: bool = True
    grown: bool = True
    rule: str = "full"

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise ConfigError(f"a memory's order is 1 to {MAX_ORDER}", got=self.order)
        if self.rule not in BUCKET_RULES:
            raise ConfigError(f"a bucket rule is one of {', '.join(BUCKET_RULES)}", got=self.rule)

    @property
    def stages(self) -> tuple[Stage, ...]:
        orders = range(2, self.order + 1)
        return (
            *(Stage("order", k) for k in orders),
            *(Stage("skip", i) for i in range(self.n_skips)),
            *(Stage("class", i) for i in range(self.n_classed)),
            *((Stage(GROWN),) if self.grown else ()),
            *(Stage("share", i) for i in range(len(self.shares))),
            *(Stage("explicit", k) for k in orders if self.explicit),
            *(Stage("match", i) for i in range(len(self.matches))),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of buckets of each stage."""
        return tuple(self._size(stage) for stage in self.stages)

    def require(self, memory: CountedMemory) -> None:
        """Raises `ConfigError` unless the memory has all tables that the recipe asks for."""
        classed = sum(bool(s.context.classed) for s in memory.counted_skips)
        plain = len(memory.counted_skips) - classed
        if self.order > memory.order or self.n_skips > plain or self.n_classed > classed:
            raise ConfigError(
                "a recipe asks for tables that its memory has",
                problem=f"it asks for order {self.order} of {memory.order}, {self.n_skips} skips of {plain}, "
                f"{self.n_classed} with classes of {classed}",
            )

    def _size(self, stage: Stage) -> int:
        fine, coarse = _SIZES[stage.kind]
        return {"full": fine * coarse, "coarse": coarse, "one": 1}[self.rule]


_SIZES = {
    # finer feature, coarser feature
    "order": (1, COUNT_CLASSES),
    "skip": (1, COUNT_CLASSES),
    "class": (1, COUNT_CLASSES),
    "explicit": (1, COUNT_CLASSES),
    GROWN: (_TOTALS, MAX_ORDER + 1),
    "share": (_PLACES, MAX_ORDER + 1),
    "match": (_NUMBERS * (MAX_ORDER + 1), MAX_MATCH + 1),
}


@dataclass(frozen=True)
class Features:
    """What buckets are made of, at each position: tensors of one shape, int64.

    `found` is the number of tokens of the longest n-gram whose context was seen, `total` the class of how often the current
    token was seen before another, `place` and `longest` the position and the longest match, `number` how many matches of at
    least 1, 2, 3 and 4 tokens. `counts` and `skips` are count classes of the contexts, by order (from 2) and skip table.
    """

    found: Tensor
    total: Tensor
    place: Tensor
    longest: Tensor
    number: tuple[Tensor, ...]
    counts: tuple[Tensor, ...]
    skips: tuple[Tensor, ...]


def bucket_of(recipe: Recipe, stage: Stage, features: Features) -> Tensor:
    """The bucket of each position at a stage; whether its expert has anything to say is not looked at."""
    if stage.kind in ("order", "explicit"):
        fine, coarse = torch.zeros_like(features.found), features.counts[stage.index - 2]
    elif stage.kind in ("skip", "class"):
        at = skip_place(recipe, stage)
        fine, coarse = torch.zeros_like(features.found), features.skips[at]
    elif stage.kind == GROWN:
        fine, coarse = features.total, features.found
    elif stage.kind == "share":
        fine, coarse = _log_class(features.place, _PLACES), features.found
    else:
        least = max(1, recipe.matches[stage.index].length)
        number = _log_class(features.number[least - 1], _NUMBERS)
        fine, coarse = number * (MAX_ORDER + 1) + features.found, features.longest
    if recipe.rule == "one":
        return torch.zeros_like(coarse)
    return coarse if recipe.rule == "coarse" else fine * _SIZES[stage.kind][1] + coarse


def skip_place(recipe: Recipe, stage: Stage) -> int:
    """The place of a stage's table among the recipe's, `CountedMemory.skip_tables`."""
    return stage.index + (recipe.n_skips if stage.kind == "class" else 0)


def _log_class(n: Tensor, classes: int) -> Tensor:
    """0, 1, 2, 3-4, 5-8, ... as 0, 1, 2, 3, 4, ...: ceil(log2(1 + n)), at most `classes` - 1."""
    return torch.log2(1 + n.double()).ceil().long().clamp(max=classes - 1)


@dataclass(frozen=True)
class Observed:
    """The mixture's experts on blocks (N, T + 1), flattened to N x T positions: what `clso.grown.mixture` takes.

    The grown model's probabilities are to be filled in at `grown_stage` (None if the recipe has none).
    """

    base: Tensor
    experts: list[Tensor]
    buckets: list[Tensor]
    grown_stage: int | None

    def with_grown(self, p: Tensor) -> list[Tensor]:
        """The experts with the grown model's probabilities (n,) in their place."""
        assert self.grown_stage is not None
        at = self.grown_stage
        return [*self.experts[:at], p.double(), *self.experts[at + 1 :]]

    @classmethod
    def joined(cls, parts: list[Observed]) -> Observed:
        experts = [torch.cat(p) for p in zip(*(part.experts for part in parts), strict=True)]
        buckets = [torch.cat(b) for b in zip(*(part.buckets for part in parts), strict=True)]
        base = torch.cat([part.base for part in parts])
        return cls(base, experts, buckets, parts[0].grown_stage)


@dataclass(frozen=True)
class OrderTerms:
    """What one order's table says at each position (N, T): shares of the target and masses of the context, float64; the
    context's count class, int64. An unknown context has none of either."""

    raw: Tensor
    continued: Tensor
    raw_mass: Tensor
    continued_mass: Tensor
    kind: Tensor


@dataclass(frozen=True)
class SkipTerms:
    """What a skip table says: the target's share, float64, and the context's count class, 0 if it has nothing."""

    share: Tensor
    kind: Tensor


def order_terms(tables: Sequence[NGramTable], blocks: Tensor, vocab_size: int) -> list[OrderTerms]:
    """The terms of orders 2, 3, ... on token blocks (N, T + 1)."""
    tokens, targets = blocks[:, :-1].contiguous(), blocks[:, 1:].contiguous()
    out = []
    contexts = context_ids(tables, tokens, vocab_size)
    for table, context in zip(tables, contexts, strict=True):
        key = torch.where(context >= 0, context * vocab_size + targets, -1)
        entry = find_keys(table.keys, key)
        out.append(
            OrderTerms(
                look_up(table.raw, entry, 0.0).double(),
                look_up(table.continued, entry, 0.0).double(),
                look_up(table.mass[:, 0], context, 0.0).double(),
                look_up(table.mass[:, 1], context, 0.0).double(),
                look_up(table.count_class, context, 0).long(),
            )
        )
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


def observe(
    memory: CountedMemory, recipe: Recipe, blocks: Tensor, *, blocks_at_once: int = 64
) -> Observed:
    """The experts on token blocks (N, T + 1), on the blocks' device, which is the memory's."""
    recipe.require(memory)
    v, parts = memory.vocab_size, []
    tables = memory.skip_tables(recipe.n_skips, recipe.n_classed)
    for part in torch.split(blocks.long(), blocks_at_once):
        orders = order_terms(memory.tables[: recipe.order - 1], part, v)
        skips = [skip_terms(s, part, v, memory.classes) for s in tables]
        past = PastShares.of((*recipe.shares, *recipe.matches), part, memory.count)
        parts.append(assemble(recipe, memory.unigram, part[:, 1:], orders, skips, past))
    return Observed.joined(parts)


def assemble(
    recipe: Recipe,
    unigram: UnigramTable,
    targets: Tensor,
    orders: Sequence[OrderTerms],
    skips: Sequence[SkipTerms],
    past: PastShares,
) -> Observed:
    """The recipe's experts out of the terms of (N, T) positions.

    `orders` begin with order 2; `past` has the recipe's shares and then its matches.
    """
    orders = orders[: recipe.order - 1]
    lower = unigram.continued[targets]
    smoothed, found = [], torch.ones_like(targets)
    for order in orders:
        smoothed.append(torch.addcmul(order.raw, 1 - order.raw_mass, lower))
        lower = torch.addcmul(order.continued, 1 - order.continued_mass, lower)
    if orders:
        # Few operations whatever the order: a GPU's time here is that of starting them.
        mass = torch.stack([o.raw_mass for o in orders])
        heard = mass > 0
        own = torch.stack([o.raw for o in orders]) / mass.clamp(min=1e-30)
        explicit, counts = own * heard, torch.stack([o.kind for o in orders]) * heard
        number = torch.arange(2, len(orders) + 2, device=targets.device)[:, None, None]
        found = (heard * number).amax(0).clamp_(min=1)
    features = Features(
        found=found,
        total=counts[0] // TYPE_CLASSES if orders else torch.zeros_like(found),
        place=torch.arange(targets.shape[1], device=targets.device).expand_as(targets),
        longest=past.longest,
        number=past.number,
        counts=tuple(counts) if orders else (),
        skips=tuple(s.kind for s in skips),
    )
    experts, buckets, grown_stage = [], [], None
    n_shares = len(recipe.shares)
    for i, stage in enumerate(recipe.stages):
        if stage.kind in ("order", "explicit"):
            at = stage.index - 2
            p = (smoothed if stage.kind == "order" else explicit)[at]
            speaks = heard[at]
        elif stage.kind in ("skip", "class"):
            own_skip = skips[skip_place(recipe, stage)]
            p, speaks = own_skip.share, own_skip.kind > 0
        elif stage.kind == GROWN:
            p, grown_stage = torch.zeros_like(lower), i
            speaks = torch.ones_like(targets, dtype=torch.bool)
        else:
            at = stage.index + (n_shares if stage.kind == "match" else 0)
            p, speaks = past.shares[at].double(), past.spoken[at]
        experts.append(p.flatten())
        buckets.append(torch.where(speaks, bucket_of(recipe, stage, features), -1).flatten())
    return Observed(unigram.raw[targets].flatten(), experts, buckets, grown_stage)
