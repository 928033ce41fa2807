"""Skip contexts: tables of what follows tokens at chosen distances, the ones between left out.

Lags (2, 0) say what followed the token two before the current one together with the current one. Their shares are absolutely
discounted and then made to sum to 1, so that a mixture says how much they are trusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from clso.errors import ConfigError
from clso.grown.discounts import count_class
from clso.grown.ngrams import find_keys, ranked
from clso.grown.packed import Children, SmallNumbers
from clso.grown.sums import sums

__all__ = ["CountedSkip", "SkipTable", "count_skip", "skip_table"]


@dataclass(frozen=True)
class SkipTable:
    """What follows a context of tokens at `lags`, falling; lag 0 is the current token.

    Attributes
    ----------
    inner : for each lag after the first, sorted keys (id of the lags before it) x vocabulary + token.
    keys : (n,) int64, sorted: context id x vocabulary + token that follows.
    share : (n,) float32; a context's sum to 1.
    count_class : (m,) uint8 by context, 0 for one that has nothing.
    """

    lags: tuple[int, ...]
    inner: tuple[Tensor, ...]
    keys: Tensor
    share: Tensor
    count_class: Tensor

    def contexts(self, tokens: Tensor, vocab_size: int) -> Tensor:
        """Context ids (N, T) of tokens (N, T), -1 if never seen or if the block is too short."""
        t = tokens.shape[1]
        first = self.lags[0]
        if t <= first:
            return torch.full_like(tokens, -1)
        out = tokens[:, : t - first]
        for lag, keys in zip(self.lags[1:], self.inner, strict=True):
            key = out * vocab_size + tokens[:, first - lag : t - lag]
            out = find_keys(keys, torch.where(out >= 0, key, -1))
        return torch.nn.functional.pad(out, (first, 0), value=-1)


@dataclass(frozen=True)
class CountedSkip:
    """The counts that a `SkipTable` is made of.

    Attributes
    ----------
    inner, children : the keys of the table, and of the lags after the first, as `Children`.
    count : how often each entry was seen.
    discount : (1,) float64, what is taken off each.
    """

    lags: tuple[int, ...]
    inner: tuple[Children, ...]
    children: Children
    count: SmallNumbers
    discount: Tensor

    @property
    def n_bytes(self) -> int:
        parts = (*self.inner, self.children, self.count)
        return self.discount.element_size() + sum(part.n_bytes for part in parts)

    def to(self, device: torch.device) -> CountedSkip:
        return CountedSkip(
            self.lags,
            tuple(c.to(device) for c in self.inner),
            self.children.to(device),
            self.count.to(device),
            self.discount.to(device),
        )

    def table(self, vocab_size: int) -> SkipTable:
        """The shares. Raises `ValueError` if the parts do not belong together."""
        keys, n = self.children.keys(vocab_size), len(self.children.size)
        context, count = keys // vocab_size, self.count.wide()
        left = count - self.discount
        share = (left / sums(context, left, n)[context]).float()
        kind = count_class(sums(context, count, n), sums(context, count > 0, n))
        inner = tuple(c.keys(vocab_size) for c in self.inner)
        return SkipTable(self.lags, inner, keys, share, kind)


def count_skip(tokens: Tensor, vocab_size: int, lags: tuple[int, ...], cut: int = 1) -> CountedSkip:
    """Count a text (n,) int64. Followers seen fewer than `cut` times are left out, and contexts that then have none.

    Raises `ConfigError` for lags that do not fall.
    """
    if not lags or min(lags) < 0 or list(lags) != sorted(set(lags), reverse=True):
        raise ConfigError("the lags of a skip context fall, 0 at the least", got=lags)
    v, first, n = vocab_size, lags[0], len(tokens) - lags[0] - 1
    ids, levels = tokens[:n], []
    for lag in lags[1:]:
        keys, _, ids = ranked(ids.long() * v + tokens[first - lag : first - lag + n])
        levels.append(keys)
    keys, count, _ = ranked(ids.long() * v + tokens[first + 1 : first + 1 + n])
    once, twice = (float((count == i).sum()) for i in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5
    kept = count >= cut
    keys, count = keys[kept], count[kept]
    children = []
    for i in range(len(levels) - 1, -1, -1):
        used = torch.zeros(len(levels[i]), dtype=torch.bool, device=keys.device)
        used[keys // v] = True
        place = torch.cumsum(used, 0) - 1
        keys = place[keys // v] * v + keys % v
        children.append(Children.of(keys, int(place[-1]) + 1, v))
        keys = levels[i][used]
    children.append(Children.of(keys, v, v))
    children.reverse()
    inner, own = tuple(children[:-1]), children[-1]
    off = torch.tensor([discount], dtype=torch.float64, device=tokens.device)
    return CountedSkip(lags, inner, own, SmallNumbers.of(count), off)


def skip_table(tokens: Tensor, vocab_size: int, lags: tuple[int, ...], cut: int = 1) -> SkipTable:
    """The table of `count_skip`."""
    return count_skip(tokens, vocab_size, lags, cut).table(vocab_size)
