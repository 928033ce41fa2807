"""Interpolated Kneser-Ney n-gram models, counted with sorted 64-bit keys.

Source: Chen and Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling"
(Harvard TR-10-98, 1998): Kneser-Ney smoothing, interpolated, and its modified discounts. An n-gram
(w1, .., wn) is the integer w1 V^(n-1) + .. + wn, so that counting is one sort and a look-up one
binary search; nothing loops over tokens."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from clso.errors import ConfigError, DataError

__all__ = ["Discount", "KneserNey", "KneserNeyModel"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Discount = float | Literal["modified"]

_PSEUDO_COUNT = 0.1  # of every word at the lowest level: one never seen keeps some probability
_CHUNK = 1 << 20  # targets scored at once: bounds the memory of `loss`
_DEFAULT_DISCOUNT = 0.75


@dataclass(frozen=True)
class _Table:
    """One order's discounted n-grams: p(w | h) = mass(h, w) + backoff(h) p(w | h without its first
    word)."""

    keys: Ints  # (n,) sorted n-grams
    mass: Floats  # (n,) (count - discount) / row total
    contexts: Ints  # (m,) sorted contexts
    backoff: Floats  # (m,) discounted share of the row

    def interpolate(self, lower: Floats, contexts: Ints, ngrams: Ints) -> Floats:
        """Probabilities of `ngrams` from `lower`, those of the order below, which unseen contexts
        keep."""
        weight = _look_up(self.contexts, self.backoff, contexts, missing=1.0)
        return _look_up(self.keys, self.mass, ngrams, missing=0.0) + weight * lower


@dataclass(frozen=True)
class KneserNey:
    """What to count. `order` is 1, 2 or 3; the fitted model answers for every order up to it.

    `discount` is one absolute discount in (0, 1), or "modified": three a level, for counts of 1, 2
    and more, estimated from the counts of counts. Raises ConfigError on values outside their range.
    """

    order: int = 3
    discount: Discount = _DEFAULT_DISCOUNT

    def __post_init__(self) -> None:
        if self.order not in (1, 2, 3):
            raise ConfigError("the order of an n-gram model is 1, 2 or 3", got=self.order)
        d = self.discount
        if d != "modified" and not (isinstance(d, int | float) and 0 < d < 1):
            raise ConfigError('a discount lies between 0 and 1, or is "modified"', got=d)

    def fit(self, tokens: npt.NDArray[np.integer], vocab_size: int) -> KneserNeyModel:
        """Count `tokens`, shape (n,).

        Raises:
            DataError: too few tokens, tokens outside the vocabulary, or a vocabulary beyond 64-bit
            keys.
        """
        if not 0 < vocab_size <= 2_000_000:
            raise DataError(
                "the vocabulary has 1 to 2,000,000 tokens (64-bit trigram keys)", got=vocab_size
            )
        t = _checked(tokens, vocab_size, at_least=self.order, what="counted")
        unigram = continuation = _smoothed(np.bincount(t, minlength=vocab_size))
        bigram = lower_bigram = trigram = None
        if self.order >= 2:
            keys, counts = np.unique(t[:-1] * vocab_size + t[1:], return_counts=True)
            continuation = _smoothed(np.bincount(keys % vocab_size, minlength=vocab_size))
            bigram = _table(keys, counts, vocab_size, self.discount)
        if self.order == 3:
            keys, counts = np.unique(
                (t[:-2] * vocab_size + t[1:-1]) * vocab_size + t[2:], return_counts=True
            )
            trigram = _table(keys, counts, vocab_size, self.discount)
            keys, counts = np.unique(keys % vocab_size**2, return_counts=True)
            lower_bigram = _table(keys, counts, vocab_size, self.discount)
        return KneserNeyModel(
            self.order, vocab_size, len(t), unigram, continuation, bigram, lower_bigram, trigram
        )


@dataclass(frozen=True)
class KneserNeyModel:
    """Unigram, bigram and trigram model counted from one text, made by `KneserNey.fit`.

    The lowest level is (count + 0.1) / (total + 0.1 V): of tokens at order 1, of distinct
    predecessors above."""

    order: int
    vocab_size: int
    n_tokens: int
    unigram: Floats  # (V,)
    continuation: Floats  # (V,) from the number of distinct words before each word
    bigram: _Table | None  # token counts: the top of the bigram model
    # distinct predecessors of each pair: the middle of the trigram model
    lower_bigram: _Table | None
    trigram: _Table | None

    def probability(
        self, contexts: npt.NDArray[np.integer], targets: npt.NDArray[np.integer]
    ) -> Floats:
        """p(target | context), shape (n,), of `targets` (n,) after `contexts` (n, k), oldest token
        first.

        The model of order min(k, order - 1) + 1 answers: the last k tokens are all that is known.
        """
        history, words = contexts.astype(np.int64), targets.astype(np.int64)
        v, k = self.vocab_size, min(history.shape[1], self.order - 1)
        if k == 0:
            unigram: Floats = self.unigram[words]
            return unigram
        p, last = self.continuation[words], history[:, -1]
        pair = last * v + words
        if k == 1:
            assert self.bigram is not None
            return self.bigram.interpolate(p, last, pair)
        assert self.lower_bigram is not None
        assert self.trigram is not None
        first = history[:, -2]
        p = self.lower_bigram.interpolate(p, last, pair)
        return self.trigram.interpolate(p, first * v + last, first * v * v + pair)

    def loss(
        self, tokens: npt.NDArray[np.integer], *, order: int | None = None, block: int | None = None
    ) -> float:
        """Mean nats per token of `tokens`, shape (n,), n >= 2. The targets are tokens[1:], each
        scored once.

        Args:
            order: the model to score with, at most (and by default) the fitted one.
            block: None for continuous text. A number cuts the text as a model with that many
                positions sees it: inputs i*block .. i*block+block-1, targets one further, no
                context from before the block. The first target of a block has one token of context:
                the bigram model scores it at order 3 too.
        """
        order = self.order if order is None else order
        if not 1 <= order <= self.order:
            raise ConfigError(f"this model was counted up to order {self.order}", got=order)
        if block is not None and block < 1:
            raise ConfigError("a block has at least one position", got=block)
        t = _checked(tokens, self.vocab_size, at_least=2, what="scored")
        total = 0.0
        for start in range(1, len(t), _CHUNK):
            target = np.arange(start, min(start + _CHUNK, len(t)))
            # tokens of context at each target
            seen = target if block is None else (target - 1) % block + 1
            for k in range(order):
                rows = target[(seen == k) if k < order - 1 else (seen >= k)]
                contexts = t[rows[:, None] + np.arange(-k, 0)]
                total -= float(np.log(self.probability(contexts, t[rows])).sum())
        return total / (len(t) - 1)


def _checked(tokens: npt.NDArray[np.integer], vocab_size: int, *, at_least: int, what: str) -> Ints:
    t = np.asarray(tokens)
    if t.ndim != 1 or not np.issubdtype(t.dtype, np.integer):
        raise DataError(
            "tokens are one row of integers", problem=f"tokens are {t.dtype} of shape {t.shape}"
        )
    if len(t) < at_least:
        raise DataError(
            f"a text that is {what} has at least {at_least} tokens",
            got=len(t),
            remedy="Use a longer text",
        )
    if t.min() < 0 or t.max() >= vocab_size:
        raise DataError(
            f"the vocabulary is 0..{vocab_size - 1}", problem=f"tokens lie in {t.min()}..{t.max()}"
        )
    return t.astype(np.int64)


def _smoothed(counts: Ints) -> Floats:
    smoothed = counts.astype(np.float64) + _PSEUDO_COUNT
    smoothed /= smoothed.sum()
    return smoothed


def _table(keys: Ints, counts: Ints, vocab_size: int, discount: Discount) -> _Table:
    """Discount sorted n-grams; `counts` are occurrences at the top order, distinct predecessors
    below it."""
    taken = _discounts(counts, discount)[np.minimum(counts, 3)]
    context = keys // vocab_size
    starts = np.flatnonzero(np.concatenate(([True], context[1:] != context[:-1])))
    row_total = np.add.reduceat(counts, starts)
    width = np.diff(np.append(starts, len(keys)))
    mass = (counts - taken) / np.repeat(row_total, width)
    return _Table(keys, mass, context[starts], np.add.reduceat(taken, starts) / row_total)


def _discounts(counts: Ints, discount: Discount) -> Floats:
    """Discounts for counts of (0, 1, 2, 3 and more), each within [0, count]."""
    if discount != "modified":
        return np.array([0.0, discount, discount, discount])
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == c)) for c in (1, 2, 3, 4))
    if min(n1, n2, n3, n4) == 0:  # too little text to estimate from
        return np.array([0.0, *[_DEFAULT_DISCOUNT] * 3])
    y = n1 / (n1 + 2 * n2)
    estimates = np.array([0.0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3])
    # a discount of 0 would leave an unseen word without probability
    bounded: Floats = np.clip(estimates, [0.0, 0.05, 0.05, 0.05], [0.0, 1.0, 2.0, 3.0])
    return bounded


def _look_up(keys: Ints, values: Floats, wanted: Ints, *, missing: float) -> Floats:
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    found: Floats = np.where(keys[at] == wanted, values[at], missing)
    return found
