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

__all__ = ["SkipTable", "skip_table"]


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

    @property
    def n_bytes(self) -> int:
        tensors = (*self.inner, self.keys, self.share, self.count_class)
        return sum(t.numel() * t.element_size() for t in tensors)

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


def skip_table(tokens: Tensor, vocab_size: int, lags: tuple[int, ...], cut: int = 1) -> SkipTable:
    """Count a text (n,) int64. Followers seen fewer than `cut` times are left out.

    Raises `ConfigError` for lags that do not fall.
    """
    if not lags or min(lags) < 0 or list(lags) != sorted(set(lags), reverse=True):
        raise ConfigError("the lags of a skip context fall, 0 at the least", got=lags)
    first, n = lags[0], len(tokens) - lags[0] - 1
    ids, n_contexts = tokens[:n], vocab_size
    inner = []
    for lag in lags[1:]:
        keys, _, place = ranked(ids.long() * vocab_size + tokens[first - lag : first - lag + n])
        inner.append(keys)
        ids, n_contexts = place, len(keys)
    keys, count, _ = ranked(ids.long() * vocab_size + tokens[first + 1 : first + 1 + n])
    once, twice = (float((count == i).sum()) for i in (1, 2))
    discount = once / (once + 2 * twice) if once else 0.5
    kept = count >= cut
    keys, count = keys[kept], count[kept]
    context = keys // vocab_size
    left = (count - discount).double()
    total = torch.bincount(context, weights=left, minlength=n_contexts)
    seen = torch.bincount(context, weights=count.double(), minlength=n_contexts)
    types = torch.bincount(context, minlength=n_contexts)
    share = (left / total[context]).float()
    return SkipTable(lags, tuple(inner), keys, share, count_class(seen, types))
