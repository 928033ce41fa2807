"""Which experts a mixture has, in their order, and the bucket of each position at each.

Base: the unigrams. Then come Kneser-Ney of orders 2, 3, ...; the skip contexts, of tokens and then
with classes; a grown model; a log-bilinear one; the block's decayed shares;
the explicit counts of orders 2, 3, ... once more, so that what they leave over goes to all of the former; the matches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.counted_memory import CountedMemory
from clso.grown.discounts import COUNT_CLASSES, TYPE_CLASSES
from clso.grown.ngrams import MAX_ORDER
from clso.grown.own_past import MAX_MATCH, Voters

__all__ = [
    "BILINEAR",
    "BUCKET_RULES",
    "GROWN",
    "PLACES",
    "Features",
    "Recipe",
    "Stage",
    "bucket",
    "bucket_of",
    "least_match",
    "log_class",
    "match_class",
    "skip_place",
]

GROWN, BILINEAR = "grown", "bilinear"
BUCKET_RULES = ("full", "coarse", "one")
"""How finely weights depend on the position: all features of a stage, the first of them, none."""

PLACES, _NUMBERS, _TOTALS = 9, 5, COUNT_CLASSES // TYPE_CLASSES


@dataclass(frozen=True)
class Stage:
    """One stage of the mixture: `kind` is "order", "skip", "class", "grown", "bilinear", "share", "explicit" or
    "match"; `index` is the order, or the table's or voters' place among their kind."""

    kind: str
    index: int = 0

    @property
    def name(self) -> str:
        return self.kind if self.kind in (GROWN, BILINEAR) else f"{self.kind} {self.index}"


@dataclass(frozen=True)
class Recipe:
    """Which experts speak, and how their weights depend on the position.

    Attributes
    ----------
    order : highest order of the n-grams.
    n_skips, n_classed : how many of the memory's skip tables of tokens, and of those with classes.
    shares, matches : decayed shares and matches of the block's own past.
    explicit : whether the n-grams' explicit counts speak a second time, after the block's shares.
    grown, bilinear : whether a grown model and the memory's log-bilinear one speak.
    rule : one of `BUCKET_RULES`.
    """

    order: int = 6
    n_skips: int = 0
    n_classed: int = 0
    shares: tuple[Voters, ...] = ()
    matches: tuple[Voters, ...] = ()
    explicit: bool = True
    grown: bool = True
    bilinear: bool = False
    rule: str = "full"

    def __post_init__(self) -> None:
        if not 1 <= self.order <= MAX_ORDER:
            raise ConfigError(f"a memory's order is 1 to {MAX_ORDER}", got=self.order)
        if self.rule not in BUCKET_RULES:
            raise ConfigError(f"a bucket rule is one of {', '.join(BUCKET_RULES)}", got=self.rule)
        if min(self.n_skips, self.n_classed) < 0:
            raise ConfigError(
                "numbers of tables are at least 0", got=(self.n_skips, self.n_classed)
            )
        for kind, voters in (("share", self.shares), ("match", self.matches)):
            if any(v.kind != kind for v in voters):
                raise ConfigError(f"voters of a recipe's {kind} are of that kind", got=voters)

    @property
    def stages(self) -> tuple[Stage, ...]:
        orders = range(2, self.order + 1)
        return (
            *(Stage("order", k) for k in orders),
            *(Stage("skip", i) for i in range(self.n_skips)),
            *(Stage("class", i) for i in range(self.n_classed)),
            *((Stage(GROWN),) if self.grown else ()),
            *((Stage(BILINEAR),) if self.bilinear else ()),
            *(Stage("share", i) for i in range(len(self.shares))),
            *(Stage("explicit", k) for k in orders if self.explicit),
            *(Stage("match", i) for i in range(len(self.matches))),
        )

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of buckets of each stage."""
        return tuple(self._size(stage) for stage in self.stages)

    @property
    def begins(self) -> dict[Stage, int]:
        """The first slot of each stage in the row of all weights."""
        return dict(zip(self.stages, accumulate(self.sizes, initial=0), strict=False))

    @staticmethod
    def covering(recipes: Sequence[Recipe]) -> Recipe:
        """One that has every stage of each, and as many buckets."""
        return Recipe(
            order=max(r.order for r in recipes),
            n_skips=max(r.n_skips for r in recipes),
            n_classed=max(r.n_classed for r in recipes),
            shares=max((r.shares for r in recipes), key=len),
            matches=max((r.matches for r in recipes), key=len),
            explicit=any(r.explicit for r in recipes),
            grown=any(r.grown for r in recipes),
            bilinear=any(r.bilinear for r in recipes),
            rule=min((r.rule for r in recipes), key=BUCKET_RULES.index),
        )

    def require(self, memory: CountedMemory) -> None:
        """Raises `ConfigError` unless the memory has all tables that the recipe asks for."""
        classed = sum(bool(context.classed) for context in memory.contexts)
        plain = len(memory.contexts) - classed
        if self.order > memory.order or self.n_skips > plain or self.n_classed > classed:
            raise ConfigError(
                "a recipe asks for tables that its memory has",
                problem=f"it asks for order {self.order} of {memory.order}, {self.n_skips} skips of {plain}, "
                f"{self.n_classed} with classes of {classed}",
            )
        if self.bilinear and memory.bilinear is None:
            raise ConfigError("a recipe's log-bilinear expert is in its memory", got=None)

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
    BILINEAR: (_TOTALS, MAX_ORDER + 1),
    "share": (PLACES, MAX_ORDER + 1),
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
    full, some = int(recipe.rule == "full"), int(recipe.rule != "one")
    if stage.kind in ("order", "explicit"):
        return features.counts[stage.index - 2] * some
    if stage.kind in ("skip", "class"):
        return features.skips[skip_place(recipe, stage)] * some
    if stage.kind == "match":
        number = features.number[least_match(recipe, stage.index) - 1]
        fine, coarse = match_class(number, features.found), features.longest
    elif stage.kind == "share":
        fine, coarse = log_class(features.place, PLACES), features.found
    else:
        fine, coarse = features.total, features.found
    return bucket(stage.kind, fine, coarse, full, some)


def bucket(
    kind: str, fine: Tensor, coarse: Tensor, full: int | Tensor, some: int | Tensor
) -> Tensor:
    """By both features under the rule "full", by the coarse one if there is `some`, else one for all."""
    return fine * (full * _SIZES[kind][1]) + coarse * some


def match_class(number: Tensor, found: Tensor) -> Tensor:
    """The finer feature of a match: how many there are, and the longest n-gram."""
    return log_class(number, _NUMBERS) * (MAX_ORDER + 1) + found


def least_match(recipe: Recipe, match: int) -> int:
    """Tokens that agree at least where a recipe's match speaks; 1 if it has none of this number."""
    return max(1, recipe.matches[match].length) if match < len(recipe.matches) else 1


def skip_place(recipe: Recipe, stage: Stage) -> int:
    """The place of a stage's table among the recipe's, `CountedMemory.skip_tables`."""
    return stage.index + (recipe.n_skips if stage.kind == "class" else 0)


def log_class(n: Tensor, classes: int) -> Tensor:
    """0, 1, 2, 3-4, 5-8, ... as 0, 1, 2, 3, 4, ...: ceil(log2(1 + n)), at most `classes` - 1."""
    return torch.log2(1 + n.double()).ceil().long().clamp(max=classes - 1)
