"""Skip contexts: tables of what follows tokens at chosen distances, the ones between left out.

Lags (2, 0) say what followed the token two before the current one together with the current one. Their shares are absolutely
discounted and then made to sum to 1, so that a mixture says how much they are trusted. At some of the lags the token's class
(`clso.grown.classes`) may stand for it, which makes of a context one that is seen more often.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.discounts import count_class
from clso.grown.ngrams import find_keys, ranked
from clso.grown.sums import sums

__all__ = ["SkipContext", "SkipCounts", "SkipTable", "count_skip"]


@dataclass(frozen=True)
class SkipContext:
    """Tokens at `lags`, falling; lag 0 is the current token. At those of `classed` the class stands for the token.

    Raises `ConfigError` for lags that do not fall, or classes at other lags.
    """

    lags: tuple[int, ...]
    classed: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        falling = list(self.lags) == sorted(set(self.lags), reverse=True)
        if not self.lags or min(self.lags) < 0 or not falling:
            raise ConfigError("the lags of a skip context fall, 0 at the least", got=self.lags)
        if not set(self.classed) <= set(self.lags):
            raise ConfigError("classes stand at lags of a skip context", got=self.classed)

    def at(self, lag: int, tokens: Tensor, classes: Tensor | None) -> Tensor:
        """What stands for `tokens` (...) at a lag; `classes` (V,) is needed if that is a class."""
        if lag not in self.classed:
            return tokens
        if classes is None:
            raise ConfigError("a context of classes has the tokens' classes", got=None)
        return classes.to(tokens.dtype)[tokens]


@dataclass(frozen=True)
class SkipTable:
    """What follows a context.

    Attributes
    ----------
    inner : for each lag after the first, sorted keys (id of the lags before it) x vocabulary + token.
    keys : (n,) int64, sorted: context id x vocabulary + token that follows.
    share : (n,) float32; a context's sum to 1.
    count_class : (m,) uint8 by context, 0 for one that has nothing.
    """

    context: SkipContext
    inner: tuple[Tensor, ...]
    keys: Tensor
    share: Tensor
    count_class: Tensor

    @property
    def n_bytes(self) -> int:
        own = (*self.inner, self.keys, self.share, self.count_class)
        return sum(t.numel() * t.element_size() for t in own)

    def contexts(self, tokens: Tensor, vocab_size: int, classes: Tensor | None) -> Tensor:
        """Context ids (N, T) of tokens (N, T), -1 if never seen or if the block is too short."""
        t, lags = tokens.shape[1], self.context.lags
        first = lags[0]
        if t <= first:
            return torch.full_like(tokens, -1)
        out = self.context.at(first, tokens[:, : t - first], classes)
        for lag, keys in zip(lags[1:], self.inner, strict=True):
            at = self.context.at(lag, tokens[:, first - lag : t - lag], classes)
            key = out * vocab_size + at
            out = find_keys(keys, torch.where(out >= 0, key, -1))
        return torch.nn.functional.pad(out, (first, 0), value=-1)


@dataclass(frozen=True)
class SkipCounts:
    """All that followed a context in a text.

    Attributes
    ----------
    inner, keys : as in `SkipTable`. count : how often each entry was seen.
    """

    context: SkipContext
    inner: tuple[Tensor, ...]
    keys: Tensor
    count: Tensor

    @cached_property
    def _discount(self) -> float:
        once, twice = torch.stack([(self.count == i).sum() for i in (1, 2)]).tolist()
        return once / (once + 2 * twice) if once else 0.5

    def table(self, vocab_size: int, cut: int = 1) -> SkipTable:
        """Without followers seen fewer than `cut` times, and contexts that then have none."""
        v, kept = vocab_size, self.count >= cut
        keys, count = self.keys[kept], self.count[kept]
        levels = []
        for level in reversed(self.inner):
            # Contexts without followers go, and then the shorter ones that nothing longer needs.
            used = torch.zeros(len(level), dtype=torch.bool, device=keys.device)
            used[keys // v] = True
            place = torch.cumsum(used, 0) - 1
            levels.append(place[keys // v] * v + keys % v)
            keys = level[used]
        *inner, keys = reversed([*levels, keys])
        n_contexts = len(inner[-1]) if inner else v
        context, left = keys // v, count.double() - self._discount
        share = (left / sums(context, left, n_contexts)[context]).float()
        seen, types = (sums(context, c, n_contexts) for c in (count, count > 0))
        return SkipTable(self.context, tuple(inner), keys, share, count_class(seen, types))


def count_skip(
    tokens: Tensor, vocab_size: int, context: SkipContext, classes: Tensor | None = None
) -> SkipCounts:
    """Count a text (n,) int64.

    classes : (V,) the tokens' classes, if the context has any.
    """
    v, lags = vocab_size, context.lags
    first, n = lags[0], len(tokens) - lags[0] - 1
    ids, levels = context.at(first, tokens[:n], classes), []
    for lag in lags[1:]:
        at = context.at(lag, tokens[first - lag : first - lag + n], classes)
        keys, _, ids = ranked(ids.long() * v + at)
        levels.append(keys)
    keys, count, _ = ranked(ids.long() * v + tokens[first + 1 : first + 1 + n])
    return SkipCounts(context, tuple(levels), keys, count)
