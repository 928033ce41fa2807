from __future__ import annotations

import argparse
import inspect
import itertools
import math
import textwrap
from collections import Counter, defaultdict

import numpy as np
import pytest

from clso.baselines import kneser_ney
from clso.baselines.kneser_ney import Discount, KneserNey
from clso.errors import ConfigError, DataError

V = 7


@pytest.fixture(scope="module")
def tokens() -> np.ndarray:
    # token 6 never occurs and token 5 comes once, last, so that unseen words and unseen contexts
    # are covered
    rng = np.random.default_rng(0)
    return np.append(np.minimum(rng.zipf(1.7, 400) - 1, 4), 5)


def _bytes(module: object) -> np.ndarray:
    return np.frombuffer(inspect.getsource(module).encode(), np.uint8)  # type: ignore[arg-type]


class Reference:
    """The textbook recursion on dictionaries, one probability at a time."""

    def __init__(self, tokens: list[int], order: int, discount: Discount) -> None:
        self.order, self.discount = order, discount
        self.counts = [
            Counter(zip(*(tokens[i:] for i in range(n)), strict=False)) for n in (1, 2, 3)
        ]
        # from the top down: occurrences, then distinct predecessors
        self.levels = [dict(self.counts[order - 1])]
        for n in range(order - 1, 0, -1):
            before: dict[tuple[int, ...], set[int]] = defaultdict(set)
            for gram in self.counts[n]:
                before[gram[1:]].add(gram[0])
            self.levels.append({gram: len(s) for gram, s in before.items()})

    def taken(self, level: dict[tuple[int, ...], int], count: int) -> float:
        if self.discount != "modified":
            return float(self.discount)
        n = Counter(level.values())
        if not all(n[c] for c in (1, 2, 3, 4)):
            return 0.75
        k, y = min(count, 3), n[1] / (n[1] + 2 * n[2])
        return min(max(k - (k + 1) * y * n[k + 1] / n[k], 0.05), k)

    def p(self, context: tuple[int, ...], word: int, depth: int = 0) -> float:
        level = self.levels[depth]
        if not context:
            return float((level.get((word,), 0) + 0.1) / (sum(level.values()) + 0.1 * V))
        row = {gram: c for gram, c in level.items() if gram[:-1] == context}
        lower = self.p(context[1:], word, depth + 1)
        if not row:
            return lower
        total, c = sum(row.values()), row.get((*context, word), 0)
        seen = (c - self.taken(level, c)) if c else 0.0
        return float((seen + sum(self.taken(level, c) for c in row.values()) * lower) / total)


@pytest.mark.parametrize("discount", [0.75, 0.4, "modified"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_equals_the_textbook_recursion_and_sums_to_one_after_every_context(
    tokens: np.ndarray, order: int, discount: Discount
) -> None:
    model = KneserNey(discount=discount).fit(tokens, V)
    reference = Reference(tokens.tolist(), order, discount)
    for context in itertools.product(range(V), repeat=order - 1):
        contexts = np.array([context] * V, dtype=np.int64).reshape(V, order - 1)
        p = model.probability(contexts, np.arange(V))
        assert p.sum() == pytest.approx(1.0, abs=1e-12)
        assert p.min() > 0
        np.testing.assert_allclose(p, [reference.p(context, w) for w in range(V)], rtol=1e-12)


def test_bigram_by_hand() -> None:
    model = KneserNey(2).fit(np.array([0, 1, 0, 1, 0, 2]), 4)
    # after 0: 1 twice, 2 once; words with predecessors: 1 <- {0}, 0 <- {1}, 2 <- {0}
    expected = (2 - 0.75) / 3 + (2 * 0.75 / 3) * (1.1 / 3.4)
    assert model.probability(np.array([[0]]), np.array([1]))[0] == pytest.approx(expected)


def test_modified_discounts_of_known_counts() -> None:
    counts = np.repeat([1, 2, 3, 4], [8, 4, 2, 1])  # y = 8 / 16
    d = kneser_ney._discounts(counts, "modified")
    np.testing.assert_allclose(
        d, [0, 1 - 2 * 0.5 * 4 / 8, 2 - 3 * 0.5 * 2 / 4, 3 - 4 * 0.5 * 1 / 2]
    )


def test_higher_orders_and_modified_discounts_predict_natural_text_better() -> None:
    train, test = _bytes(argparse), _bytes(textwrap)
    model = KneserNey().fit(train, 256)
    unigram, kn2, kn3 = (model.loss(test, order=order, block=128) for order in (1, 2, 3))
    assert kn3 < kn2 - 0.2 < unigram - 0.6 < math.log(256)
    assert KneserNey(discount="modified").fit(train, 256).loss(test) < model.loss(test)


def test_blocks_are_scored_as_separate_texts_that_share_their_border_token() -> None:
    text = _bytes(textwrap)[:1000]
    model = KneserNey().fit(_bytes(argparse), 256)
    for block in (1, 7, 128, 5000):
        pieces = [text[i : i + block + 1] for i in range(0, len(text) - 1, block)]
        nats = sum(model.loss(piece) * (len(piece) - 1) for piece in pieces)
        assert model.loss(text, block=block) == pytest.approx(nats / (len(text) - 1), rel=1e-12)
    assert model.loss(text, block=1) == pytest.approx(model.loss(text, order=2), rel=1e-12)
    assert model.loss(text, block=128) != model.loss(text)


def test_loss_is_the_mean_of_its_tokens_and_chunks_change_nothing(
    tokens: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = KneserNey().fit(tokens, V)
    p = [float(model.probability(tokens[None, :1], tokens[1:2])[0])]
    p += [
        float(model.probability(tokens[None, i - 2 : i], tokens[i : i + 1])[0])
        for i in range(2, len(tokens))
    ]
    whole = model.loss(tokens)
    assert whole == pytest.approx(-np.log(p).mean(), rel=1e-12)
    monkeypatch.setattr(kneser_ney, "_CHUNK", 37)
    assert model.loss(tokens) == pytest.approx(whole, rel=1e-12)


def test_narrow_integers_do_not_overflow() -> None:
    wide = np.random.default_rng(1).integers(0, 50257, 3000)
    narrow = wide.astype(np.uint16)
    a, b = KneserNey().fit(wide, 50257), KneserNey().fit(narrow, 50257)
    assert a.loss(wide[:500]) == b.loss(narrow[:500])


def test_a_lower_order_of_a_larger_model_is_that_model(tokens: np.ndarray) -> None:
    large = KneserNey().fit(tokens, V)
    for order in (1, 2):
        assert large.loss(tokens, order=order) == KneserNey(order).fit(tokens, V).loss(tokens)


@pytest.mark.parametrize(
    ("tokens", "vocab_size"),
    [
        (np.array([], np.int64), V),
        (np.array([0, 1]), V),
        (np.array([0, 1, V]), V),
        (np.array([0, -1, 2]), V),
        (np.array([0.0, 1.0, 2.0]), V),
        (np.zeros((2, 3), np.int64), V),
        (np.array([0, 1, 2]), 3_000_000),
    ],
)
def test_bad_tokens_are_refused(tokens: np.ndarray, vocab_size: int) -> None:
    with pytest.raises(DataError):
        KneserNey().fit(tokens, vocab_size)


def test_bad_options_are_refused(tokens: np.ndarray) -> None:
    for order, discount in ((0, 0.75), (4, 0.75), (2, 0.0), (2, 1.5)):
        with pytest.raises(ConfigError):
            KneserNey(order, discount=discount).fit(tokens, V)
    model = KneserNey(2).fit(tokens, V)
    for order, block in ((3, None), (0, None), (2, 0)):
        with pytest.raises(ConfigError):
            model.loss(tokens, order=order, block=block)
    with pytest.raises(DataError, match="at least 2"):
        model.loss(tokens[:1])
