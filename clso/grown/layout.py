"""Where everything lies in GPT-2's residual stream, so that no LayerNorm loses anything.

In logical coordinates a residual vector holds

    one | ballast | position 4 | start | rarity | code K | identity D | match S

`one` is the direction that LayerNorm removes, so that a LayerNorm bias along it is a constant
feature (it carries log p_cont). `ballast` fills every token's vector up to one norm, so that
LayerNorm's division is a constant. `start` marks position 0, `rarity` tells rare tokens from common
ones. `code` holds the bigram code and what context adds to it, `identity` a faint near-orthogonal
name of the token and the names that the copy head brings, `match` the previous token's name.
`rotation` leads from logical to physical coordinates."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.patterns import N_POSITION_DIMS

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
        """Shares of the dimensions that are not reserved, cut to what heads can carry: a name to one head's, a code
        to two heads'. The last axis stays free, for it shares coordinates with the ballast (`rotation`)."""
        free = d_model - _RESERVED - 1
        k = min(max(1, round(code * free)), 2 * head_dim)
        d = min(max(1, round(identity * free)), head_dim)
        return cls(d_model, k, d, min(max(1, free - k - d), head_dim - 1, max(1, d - d // 8)))

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
    """The orthogonal matrix Q (d, d) with physical = Q @ logical; d is 4 at least.

    Q takes `one` to LayerNorm's mean direction (1, ..., 1)/sqrt(d), and `ballast` to (1, -1, 0,
    ..., 0)/sqrt(2). Only the last logical axis shares these two coordinates: were the ballast,
    which is large, in all of them, then float32 would round everything small in units of its size.
    """
    n = d_model - 2  # coordinates without ballast
    v = torch.full((n,), -1 / math.sqrt(n), dtype=torch.float64)
    v[-1] += 1
    v /= v.norm()
    # A reflection, which takes the last axis to the mean direction of these coordinates.
    reflection = torch.eye(n, dtype=torch.float64) - 2 * torch.outer(v, v)
    mean, out = reflection[:, -1], torch.zeros(d_model, d_model, dtype=torch.float64)
    out[:, Layout.one] = 1 / math.sqrt(d_model)
    out[0, Layout.ballast], out[1, Layout.ballast] = 1 / math.sqrt(2), -1 / math.sqrt(2)
    out[2:, 2:-1] = reflection[:, :-1]
    out[:2, -1], out[2:, -1] = math.sqrt(n / (2 * d_model)), -math.sqrt(2 / d_model) * mean
    return out.float().to(device)
