"""Genes of `gpt2-memory` beside those of `gpt2`: what is counted, what is dropped again, which experts speak.

`default_genome` is the default: round numbers. Alleles are labels; `MemoryGenes.of` says what a genome's alleles mean.
"""

from __future__ import annotations

from collections.abc import Mapping

from clso.grown.own_past import Voters
from clso.grown.pruning import Pruning
from clso.grown.recipes import BUCKET_RULES, Recipe
from clso.grown.usual import MATCH_LENGTHS, matches_of
from clso.space import Gene, Genome

__all__ = [
    "MAX_COUNTED",
    "MEMORY_GENES",
    "default_genome",
    "memory_genes",
    "recipe_of",
]

ORDERS = (2, 3, 4, 5, 6, 8, 10)
MAX_COUNTED = max(ORDERS)

_CUTS = ((1, 1, 1), (1, 1, 2), (1, 2, 2), (2, 2, 2), (1, 2, 3))
_THRESHOLDS = (0.0, 1e-8, 3e-8, 1e-7, 3e-7)
_DISCOUNTS = (0.7, 0.8, 0.9, 1.0)
_DECAYS = (0.95, 0.97, 0.98, 0.99, 0.995)
_RARITIES = (0.0, 0.25, 0.5, 0.75)

MEMORY_GENES: dict[str, tuple[object, ...]] = {
    # Highest order of the n-grams, and the discounts' multiple of Chen and Goodman's estimate.
    "memory.order": ORDERS,
    "memory.discount": _DISCOUNTS,
    # Least counts that stay at orders 2, 3 and higher, and the entropy in nats per token below which an entry goes.
    "memory.cut": _CUTS,
    "memory.entropy.low": _THRESHOLDS,
    "memory.entropy.high": _THRESHOLDS,
    # Skip contexts, the least count of a follower that stays in their tables, and contexts with classes.
    "memory.skips": (0, 1, 2, 3, 4, 6),
    "memory.skips.cut": (1, 2, 3),
    "memory.classes": (0, 1, 2, 3, 5),
    # Whether explicit counts speak again, after the block's shares.
    "memory.explicit": (False, True),
    "memory.grown": (False, True),
    # The block's decayed shares and the rarity's power in them; lengths of matches that have a weight of their own.
    "past.decay": _DECAYS,
    "past.rarity": _RARITIES,
    "past.shares": (0, 1, 2, 3),
    "past.matches": (0, 1, 2, 3, 4, 5),
    "buckets": BUCKET_RULES,
}

# Genes of what another gene leaves out.
_UNLESS: dict[str, tuple[tuple[str, str], ...]] = {
    "memory.entropy.high": (("memory.order", "2"), ("memory.order", "3")),
    "past.decay": (("past.shares", "0"), ("past.shares", "1")),
    "past.rarity": (("past.shares", "0"), ("past.shares", "1"), ("past.shares", "2")),
}

_HAND_SET: dict[str, object] = {
    "memory.order": 6,
    "memory.discount": 1.0,
    "memory.cut": (1, 1, 1),
    "memory.entropy.low": 0.0,
    "memory.entropy.high": 0.0,
    "memory.skips": 3,
    "memory.skips.cut": 2,
    "memory.classes": 5,
    "memory.explicit": True,
    "memory.grown": True,
    "past.decay": 0.97,
    "past.rarity": 0.5,
    "past.shares": 3,
    "past.matches": 5,
    "buckets": "full",
}


def memory_genes() -> tuple[Gene, ...]:
    """The genes, in genome order."""
    return tuple(
        Gene(name, tuple(map(_label, values)), _UNLESS.get(name, ()))
        for name, values in MEMORY_GENES.items()
    )


def default_genome() -> Genome:
    """The default genome's alleles."""
    return tuple(values.index(_HAND_SET[name]) for name, values in MEMORY_GENES.items())


def values_of(genome: Genome) -> dict[str, object]:
    """What the alleles of the memory's genes stand for."""
    return {n: v[a] for (n, v), a in zip(MEMORY_GENES.items(), genome, strict=True)}


def pruning_of(genome: Genome) -> Pruning:
    """What a genome's tables are made with."""
    v: Mapping[str, object] = values_of(genome)
    low, high = v["memory.entropy.low"], v["memory.entropy.high"]
    assert isinstance(low, float)
    assert isinstance(high, float)
    cut, discount = v["memory.cut"], v["memory.discount"]
    assert isinstance(cut, tuple)
    assert isinstance(discount, float)
    return Pruning(discount, cut, (low, low, high), int(str(v["memory.skips.cut"])))


def recipe_of(genome: Genome, max_order: int) -> Recipe:
    """Which experts a genome mixes; orders beyond `max_order`, which a short text has not, are left out."""
    v = values_of(genome)
    decay, rarity = float(str(v["past.decay"])), float(str(v["past.rarity"]))
    shares = (Voters("share"), Voters("share", decay), Voters("share", 1.0, rarity))
    matches = matches_of(MATCH_LENGTHS)
    return Recipe(
        order=min(int(str(v["memory.order"])), max_order),
        n_skips=int(str(v["memory.skips"])),
        n_classed=int(str(v["memory.classes"])),
        shares=shares[: int(str(v["past.shares"]))],
        matches=matches[: int(str(v["past.matches"]))],
        explicit=bool(v["memory.explicit"]),
        grown=bool(v["memory.grown"]),
        rule=str(v["buckets"]),
    )


def _label(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value))
    return f"{value:g}" if isinstance(value, float) else str(value)
