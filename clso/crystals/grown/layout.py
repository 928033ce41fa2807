"""Where everything lies in GPT-2's residual stream, so that no LayerNorm loses anything.

In logical coordinates a residual vector holds

    one | ballast | position 4 | start | rarity | code K | identity D | match S

`one` is the direction that LayerNorm removes, so that a LayerNorm bias along it is a constant feature (it carries
log p_cont). `ballast` fills every token's vector up to one norm, so that LayerNorm's division is a constant. `start` marks
position 0, `rarity` tells rare tokens from common ones. `code` holds the bigram code and what context adds to it,
`identity` a faint near-orthogonal name of the token and the names that the copy head brings, `match` the previous token's
name. Physical weights are logical ones times the Householder reflection that maps the first axis to LayerNorm's mean
direction.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.crystals.grown.patterns import N_POSITION_DIMS
from clso.errors import ConfigError

__all__ = ["Layout", "rotation"]

_RESERVED = 4 + N_POSITION_DIMS


@dataclass(frozen=True)
class Layout:
    """Split of `d_model` dimensions; `code`, `identity` and `match` are dimension counts."""

    d_model: int
    code: int
    identity: int
    match: int

    def __post_init__(self) -> None:
        used = _RESERVED + self.code + self.identity + self.match
        if used > self.d_model or min(self.code, self.identity, self.match) < 1:
            raise ConfigError(
                f"code, identity and match dimensions are positive and leave {_RESERVED} of {self.d_model}",
                got=(self.code, self.identity, self.match),
            )

    @classmethod
    def by_shares(cls, d_model: int, head_dim: int, code: float, identity: float) -> Layout:
        """Shares of the dimensions that are not reserved, cut to what one head can carry."""
        free = d_model - _RESERVED
        k = min(max(1, round(code * free)), head_dim)
        d = min(max(1, round(identity * free)), head_dim)
        return cls(d_model, k, d, min(max(1, free - k - d), head_dim - 1))

    one = 0
    ballast = 1
    position_dims = slice(2, 2 + N_POSITION_DIMS)
    start = 2 + N_POSITION_DIMS
    rarity = 3 + N_POSITION_DIMS

    @property
    def code_dims(self) -> slice:
        return slice(_RESERVED, _RESERVED + self.code)

    @property
    def identity_dims(self) -> slice:
        begin = _RESERVED + self.code
        return slice(begin, begin + self.identity)

    @property
    def match_dims(self) -> slice:
        begin = _RESERVED + self.code + self.identity
        return slice(begin, begin + self.match)


def rotation(d_model: int, device: torch.device) -> Tensor:
    """The symmetric orthogonal matrix (d, d) whose first column is LayerNorm's mean direction (1, ..., 1)/sqrt(d)."""
    v = torch.full((d_model,), -1 / math.sqrt(d_model), dtype=torch.float64)
    v[0] += 1
    v /= v.norm()
    return (torch.eye(d_model, dtype=torch.float64) - 2 * torch.outer(v, v)).float().to(device)
