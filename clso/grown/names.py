"""Names of tokens: near-orthogonal vectors, known by all of their dimensions and by the first few alike.

A name's first S dimensions are what a head fetches of the previous token, so they are a name themselves: of one size for all
tokens, as the rest is."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.grown.als import hash_noise

__all__ = ["AT_OTHERS", "AT_PAIR", "PairDetectors", "detectors", "projection", "token_names"]

AT_PAIR, AT_OTHERS = 10.0, -6.0
"""What a hidden unit gets at its pair, and at most elsewhere: GELU is 10 there, and 0 to 1e-8 here."""
_MARGIN = 0.06  # the least distance between a pair's score, 1, and any other pair's
_SIMILARITIES = 1 << 24  # held at once


def token_names(vocab_size: int, identity: int, match: int, device: torch.device) -> Tensor:
    """Names (V, identity) of unit size, the same on every device. Their first `match` dimensions have the size
    sqrt(match / identity) for every token."""
    names = hash_noise(vocab_size, identity, device, seed=1)
    first, rest = names[:, :match], names[:, match:]
    share = min(1.0, match / identity)
    first *= math.sqrt(share) / first.norm(dim=1, keepdim=True)
    if rest.shape[1]:
        rest *= math.sqrt(1 - share) / rest.norm(dim=1, keepdim=True)
    return names


def projection(identity: int, match: int) -> Tensor:
    """From names to their first dimensions at unit size: (identity, match)."""
    return torch.eye(identity, match) * math.sqrt(max(1.0, identity / match))


@dataclass(frozen=True)
class PairDetectors:
    """Hidden units that fire on one pair each.

    A unit scores the current token's name and the previous one's first dimensions, weighted `of_current` and
    1 - `of_current`: 1 at its pair, and 1 - margin at most at any other. It gets `slope` (score - 1) + `AT_PAIR`.

    Attributes
    ----------
    slope, of_current : (N,)
    margin : (N,)
    """

    slope: Tensor
    of_current: Tensor
    margin: Tensor

    @property
    def separable(self) -> Tensor:
        """Which pairs names can tell from all others (N,)."""
        return self.margin >= _MARGIN

    def at(self, index: Tensor) -> PairDetectors:
        """Those of the pairs `index` (n,)."""
        return PairDetectors(self.slope[index], self.of_current[index], self.margin[index])


def detectors(names: Tensor, match: int, previous: Tensor, current: Tensor) -> PairDetectors:
    """Units for pairs of tokens (N,) with names (V, D), whose first `match` dimensions tell the previous token."""
    # Distances from a name to the nearest other one; a pair's nearest rivals share one of its tokens.
    first = names[:, :match]
    here = _separation(names / names.norm(dim=1, keepdim=True), current)
    before = _separation(first / first.norm(dim=1, keepdim=True), previous)
    # Weights that keep both kinds of rival at one distance.
    both = (here + before).clamp(min=1e-9)
    margin = here * before / both
    slope = (AT_PAIR - AT_OTHERS) / margin.clamp(min=_MARGIN)
    return PairDetectors(slope, before / both, margin)


def _separation(units: Tensor, tokens: Tensor) -> Tensor:
    """1 less the largest cosine with another token's name (n,), for unit names (V, D)."""
    distinct, place = torch.unique(tokens, return_inverse=True)
    found = []
    for part in distinct.split(max(1, _SIMILARITIES // len(units))):
        cosine = units[part] @ units.T
        cosine[torch.arange(len(part), device=part.device), part] = -1
        found.append(1 - cosine.amax(1))
    return torch.cat(found)[place] if found else units.new_empty(0)
