"""The experts that a memory has unless a search chooses others: round numbers, set by hand."""

from __future__ import annotations

from clso.grown.own_past import MATCH_DECAY, Voters
from clso.grown.recipes import Recipe
from clso.grown.skips import SkipContext

__all__ = [
    "CLASS_CONTEXTS",
    "MATCH_LENGTHS",
    "SKIP_CONTEXTS",
    "USUAL_SKIP_CUT",
    "matches_of",
    "skip_contexts",
    "usual_recipe",
]

SKIP_CONTEXTS = tuple(
    SkipContext(lags) for lags in ((2, 0), (3, 1, 0), (3, 2, 0), (2, 1), (1,), (2,))
)
"""Contexts of tokens, the most useful ones first."""

CLASS_CONTEXTS = tuple(
    SkipContext(lags, classed)
    for lags, classed in (
        ((1, 0), (1, 0)),
        ((2, 1, 0), (2, 1)),
        ((2, 1, 0), (2, 1, 0)),
        ((1, 0), (1,)),
        ((2, 1, 0), (2,)),
    )
)
"""Contexts with classes, likewise."""

USUAL_SKIP_CUT = 2
"""Least count of a follower that stays in the tables of skip contexts."""

MATCH_LENGTHS = (0, 1, 2, 3, 4)
_ORDER, _N_SKIPS, _N_CLASSED = 6, 3, 5
_DECAY, _RARITY = 0.97, 0.5


def matches_of(lengths: tuple[int, ...]) -> tuple[Voters, ...]:
    """Voters of what followed matches of these lengths."""
    return tuple(Voters("match", MATCH_DECAY if n else 1.0, 0.0, n) for n in lengths)


def skip_contexts(recipe: Recipe) -> tuple[SkipContext, ...]:
    """The contexts of a recipe's skip tables, in the order of its stages."""
    return (*SKIP_CONTEXTS[: recipe.n_skips], *CLASS_CONTEXTS[: recipe.n_classed])


def usual_recipe(max_order: int, *, grown: bool = True, classes: bool = True) -> Recipe:
    """The experts set by hand; orders beyond `max_order`, which a short text has not, are left out.

    grown : whether a GPT-2 speaks. classes : whether contexts with classes do.
    """
    return Recipe(
        order=min(_ORDER, max_order),
        n_skips=_N_SKIPS,
        n_classed=_N_CLASSED if classes else 0,
        shares=(Voters("share"), Voters("share", _DECAY), Voters("share", 1.0, _RARITY)),
        matches=matches_of(MATCH_LENGTHS),
        grown=grown,
    )
