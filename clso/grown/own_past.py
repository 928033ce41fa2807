"""What a block's own past says of its next token: decayed shares of its tokens, and what followed the longest match.

Everything at position t depends on tokens up to t alone, and on nothing but the block. Two ways to the same numbers:
`PastShares` for all targets of many blocks at once, `past_distribution` for one position and the whole vocabulary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from clso.errors import ConfigError

__all__ = ["MATCH_DECAY", "MAX_MATCH", "PastShares", "Voters", "match_lengths", "past_weights"]

MAX_MATCH = 6
"""Tokens of a match that are counted."""
_LONGEST = 4
"""Tokens that a match can be asked to have."""
MATCH_DECAY = 0.98
"""What an occurrence loses in weight with each position further back."""


@dataclass(frozen=True)
class Voters:
    """Which of the block's positions speak for the token that stands there, and how loudly.

    `kind` is "share" (every position; weight decay^distance count^-rarity) or "match" (positions that follow a match of
    `length` tokens at least, weight decay^distance; of length 0, any match, weight length^3).

    Raises `ConfigError` for another kind, a decay outside (0, 1], a rarity below 0, or a length over 4.
    """

    kind: str = "share"
    decay: float = 1.0
    rarity: float = 0.0
    length: int = 0

    def __post_init__(self) -> None:
        if self.kind not in ("share", "match"):
            raise ConfigError("voters are of kind share or match", got=self.kind)
        if not 0 < self.decay <= 1:
            raise ConfigError("a vote's decay is above 0, and 1 at most", got=self.decay)
        if not 0 <= self.rarity < math.inf:
            raise ConfigError("a vote's rarity is at least 0", got=self.rarity)
        if not 0 <= self.length <= _LONGEST:
            raise ConfigError(f"a match's length is 0 to {_LONGEST}", got=self.length)


def match_lengths(tokens: Tensor) -> Tensor:
    """Tokens that agree before t and before s, both included, up to `MAX_MATCH`: (N, T) -> (N, T, T) int8, 0 unless s < t."""
    same = tokens[:, :, None] == tokens[:, None, :]
    run = same.tril(-1)
    length = run.to(torch.int8)
    for _ in range(1, MAX_MATCH):
        run = same & F.pad(run[:, :-1, :-1], (1, 0, 1, 0))
        run = run.tril(-1)
        length += run
    return length


def past_weights(voters: Voters, tokens: Tensor, count: Tensor, length: Tensor) -> Tensor:
    """Weight at t of the token that stands at s: (N, T, T) float32, 0 for s > t.

    tokens : (N, T). count : (V,) occurrences in the text. length : `match_lengths(tokens)`.
    """
    t = tokens.shape[1]
    position = torch.arange(t, device=tokens.device)
    age = (position[:, None] - position[None]).clamp(min=0).float()
    decayed = voters.decay**age
    if voters.kind == "share":
        weight = decayed.tril() * (1 + count[tokens].float()).pow(-voters.rarity)[:, None, :]
        return weight
    # A match that ends at s - 1 speaks for the token at s.
    at = F.pad(length[:, :, :-1], (1, 0))
    if voters.length == 0:
        return at.float() ** 3 * decayed
    return (at >= voters.length) * decayed


@dataclass(frozen=True)
class PastShares:
    """Shares of the targets, and the features of each position that buckets are made of.

    Attributes
    ----------
    shares : for each voters (N, T) float32, the target's share; 0 if nothing speaks.
    spoken : for each voters (N, T) bool, whether anything speaks.
    longest : (N, T) int64, the longest match.
    number : for lengths 1 to 4 (`_LONGEST`), how many matches of at least that length: (N, T) int64.
    """

    shares: tuple[Tensor, ...]
    spoken: tuple[Tensor, ...]
    longest: Tensor
    number: tuple[Tensor, ...]

    @classmethod
    def of(cls, voters: tuple[Voters, ...], blocks: Tensor, count: Tensor) -> PastShares:
        """Of token blocks (N, T + 1)."""
        tokens, targets = blocks[:, :-1], blocks[:, 1:]
        length = match_lengths(tokens)
        agrees = (tokens[:, None, :] == targets[:, :, None]).float()
        shares, spoken = [], []
        for v in voters:
            weight = past_weights(v, tokens, count, length)
            total = weight.sum(2)
            found = (weight * agrees).sum(2)
            spoken.append(total > 0)
            shares.append(torch.where(total > 0, found / total.clamp(min=1e-30), 0.0))
        number = tuple((length >= n).sum(2) for n in range(1, _LONGEST + 1))
        return cls(tuple(shares), tuple(spoken), length.amax(2).long(), number)

    @classmethod
    def joined(cls, parts: Sequence[PastShares]) -> PastShares:
        """The blocks of several, one after the other."""
        shares = tuple(torch.cat(p) for p in zip(*(part.shares for part in parts), strict=True))
        spoken = tuple(torch.cat(p) for p in zip(*(part.spoken for part in parts), strict=True))
        number = tuple(torch.cat(p) for p in zip(*(part.number for part in parts), strict=True))
        return cls(shares, spoken, torch.cat([part.longest for part in parts]), number)
