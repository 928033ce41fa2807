"""Counting n-grams of any order with exact integer keys.

An n-gram's id is its rank among all of its order, sorted by (id of its first n - 1 tokens, last token). So one 64-bit key,
`context_id * vocab_size + last`, names it exactly, whatever the order: nothing is hashed, nothing collides.

    counts = count_ngrams(tokens, vocab_size=50257, order=5)
    counts.levels[2].keys        # sorted keys of the trigrams
    counts.levels[2].count       # how often each was seen

Memory is bounded: 4 bytes a token for the ids, 16 a distinct n-gram, and a chunk's sort (`CHUNK` tokens, about 40 bytes
each). 100 M tokens at order 6 with 60 M distinct n-grams an order need 0.4 + 5 x 0.96 + 0.7 = 5.9 GB.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from clso.errors import ConfigError, DataError

__all__ = [
    "CHUNK",
    "MAX_ORDER",
    "NGramCounts",
    "NGramLevel",
    "count_ngrams",
    "find_keys",
    "look_up",
    "ranked",
    "require_order",
]

MAX_ORDER = 12
CHUNK = 1 << 24
"""Tokens counted at once."""
_BITS = 63  # of a number that is not negative


@dataclass(frozen=True)
class NGramLevel:
    """All n-grams of one order.

    Attributes
    ----------
    keys : (n,) int64, sorted. Of order 1, the tokens themselves.
    count : (n,) int64, occurrences in the text.
    continuation : (n,) int64, distinct tokens seen before it; zeros at the highest order.
    """

    keys: Tensor
    count: Tensor
    continuation: Tensor

    def __len__(self) -> int:
        return len(self.keys)

    @cached_property
    def counts_of_counts(self) -> tuple[list[int], list[int]]:
        """How many entries occur 1, 2, 3 and 4 times, and how many have as many tokens before them."""
        both = torch.stack([self.count, self.continuation])
        occurring, continuing = torch.stack([(both == i).sum(1) for i in (1, 2, 3, 4)], 1).tolist()
        return occurring, continuing


@dataclass(frozen=True)
class NGramCounts:
    """`levels[k - 1]` holds the n-grams of order k; `n_tokens` is the length of the text."""

    vocab_size: int
    n_tokens: int
    levels: tuple[NGramLevel, ...]

    @property
    def order(self) -> int:
        return len(self.levels)


def require_order(order: int) -> int:
    """`order`, if it can be counted. Raises `ConfigError`."""
    if not 1 <= order <= MAX_ORDER:
        raise ConfigError(f"an n-gram's order is 1 to {MAX_ORDER}", got=order, remedy="Use 3 to 8.")
    return order


def count_ngrams(tokens: Tensor, vocab_size: int, order: int) -> NGramCounts:
    """Count the n-grams of orders 1 to `order` of a text.

    Parameters
    ----------
    tokens : (n,) integers on any device, each below `vocab_size`.

    Raises
    ------
    ConfigError
        An order that cannot be counted.
    DataError
        A text shorter than the order, or a token that is not in the vocabulary.
    """
    require_order(order)
    if len(tokens) < order + 1:
        raise DataError(
            f"n-grams of order {order} are counted on {order + 1} tokens at least",
            got=len(tokens),
            remedy="Give a longer text, or a lower order.",
        )
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= vocab_size:
        raise DataError(
            f"tokens are 0 to {vocab_size - 1}",
            got=high if high >= vocab_size else low,
            remedy="Give the tokenizer that the text was encoded with.",
        )
    device = tokens.device
    alphabet = torch.arange(vocab_size, device=device)
    found = [(alphabet, torch.bincount(tokens, minlength=vocab_size))]
    suffix = [torch.zeros_like(alphabet)]  # for each n-gram the id of its last n - 1 tokens
    ids = tokens.int()
    for k in range(2, order + 1):
        keys, count, ids = _next_order(ids, tokens[k - 1 :], vocab_size)
        context, last = keys // vocab_size, keys % vocab_size
        if k == 2:
            suffix.append(last)
        else:
            suffix.append(find_keys(found[-1][0], suffix[-1][context] * vocab_size + last))
        found.append((keys, count))
    levels = []
    for k, (keys, count) in enumerate(found, 1):
        last = torch.zeros_like(count)
        continuation = torch.bincount(suffix[k], minlength=len(keys)) if k < order else last
        levels.append(NGramLevel(keys, count, continuation))
    return NGramCounts(vocab_size, len(tokens), tuple(levels))


def find_keys(keys: Tensor, wanted: Tensor) -> Tensor:
    """Places of `wanted` in the sorted `keys`, -1 for those that are not there (negative ones never are)."""
    if not len(keys):
        return torch.full_like(wanted, -1)
    place = torch.searchsorted(keys, wanted.contiguous()).clamp_(max=len(keys) - 1)
    return place.masked_fill_(keys[place] != wanted, -1)


def look_up(values: Tensor, place: Tensor, default: float) -> Tensor:
    """`values[place]`, with `default` if the place is negative. `values` may be empty."""
    if not len(values):
        return torch.full_like(place, default, dtype=values.dtype)
    return values[place].masked_fill_(place < 0, default)  # -1 is the last, which is not kept


def _next_order(ids: Tensor, last: Tensor, vocab_size: int) -> tuple[Tensor, Tensor, Tensor]:
    """Keys and counts of the n-grams (ids[t], last[t]), and each position's id among them (int32)."""
    n = len(last)
    edges = list(pairwise([*range(0, n, CHUNK), n]))
    keys, count = torch.empty(0, dtype=torch.long), torch.empty(0, dtype=torch.long)
    place = torch.empty(0, dtype=torch.int32)
    for begin, end in edges:
        key = ids[begin:end].long() * vocab_size + last[begin:end]
        new_keys, new_count, place = ranked(key)
        if begin == 0:
            keys, count = new_keys, new_count
            continue
        both = torch.cat([keys, new_keys])
        keys, _, where = ranked(both)
        both_count = torch.cat([count, new_count])
        count = torch.zeros_like(keys).index_add_(0, where.long(), both_count)
    if len(edges) > 1:
        parts = [find_keys(keys, ids[b:e].long() * vocab_size + last[b:e]).int() for b, e in edges]
        place = torch.cat(parts)
    return keys, count, place


def ranked(key: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Distinct keys (n,) in order, how often each is there, and the rank of each element (int32). Keys are not negative."""
    ordered, by = torch.sort(key) if key.is_cuda else _sorted(key)
    first = torch.ones(len(key), dtype=torch.bool, device=key.device)
    first[1:] = ordered[1:] != ordered[:-1]
    begin = first.nonzero().flatten()
    keys = ordered[begin]
    count = torch.nn.functional.pad(begin, (0, 1), value=len(key)).diff()
    rank = torch.cumsum(first, 0, dtype=torch.int32) - 1
    place = torch.empty_like(rank)
    place[by] = rank
    return keys, count, place


def _sorted(key: Tensor) -> tuple[Tensor, Tensor]:
    """`torch.sort` on a CPU, by NumPy, whose sorts are several times as fast; that of plain numbers is five times as fast as
    one that gives places, so that these stand in the low bits if there is room."""
    bits = len(key).bit_length()
    if len(key) and int(key.max()).bit_length() + bits > _BITS:
        by = torch.from_numpy(np.argsort(key.numpy()))
        return key[by], by
    both = (key << bits) + torch.arange(len(key))
    both.numpy().sort()
    return both >> bits, both & ((1 << bits) - 1)
