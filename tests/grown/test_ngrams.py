"""Counts against a dictionary's, whatever the chunks; bad orders and texts."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from clso.errors import ConfigError, DataError
from clso.grown import ngrams
from clso.grown.ngrams import count_ngrams, ranked


@pytest.fixture
def text() -> torch.Tensor:
    return torch.randint(0, 7, (500,), generator=torch.Generator().manual_seed(0))


def decoded(counts: ngrams.NGramCounts) -> list[dict[tuple[int, ...], tuple[int, int]]]:
    """By order: n-gram -> (count, continuation count)."""
    known: list[tuple[int, ...]] = [()]
    out = []
    for level in counts.levels:
        v = counts.vocab_size
        grams = [(*known[key // v], key % v) for key in level.keys.tolist()]
        numbers = zip(level.count.tolist(), level.continuation.tolist(), strict=True)
        out.append(dict(zip(grams, numbers, strict=True)))
        known = grams
    return out


@pytest.mark.parametrize("chunk", [1 << 24, 64])
def test_counts_are_those_of_a_dictionary(
    text: torch.Tensor, chunk: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ngrams, "CHUNK", chunk)
    order, found = 4, decoded(count_ngrams(text, 7, 4))
    tokens = tuple(text.tolist())
    for k in range(2, order + 1):
        counted = Counter(tokens[i : i + k] for i in range(len(tokens) - k + 1))
        assert {gram: c for gram, (c, _) in found[k - 1].items()} == counted
    for k in range(1, order):
        left = Counter(gram[1:] for gram in found[k])
        assert {g: n for g, (_, n) in found[k - 1].items() if n} == left


@pytest.mark.parametrize("order", [0, 20, -1])
def test_an_order_out_of_range_is_refused(text: torch.Tensor, order: int) -> None:
    with pytest.raises(ConfigError, match="order is 1 to"):
        count_ngrams(text, 7, order)


def test_a_text_shorter_than_the_order_is_refused() -> None:
    with pytest.raises(DataError, match="6 tokens at least"):
        count_ngrams(torch.tensor([1, 2, 3]), 7, 5)


def test_tokens_beyond_the_vocabulary_are_refused(text: torch.Tensor) -> None:
    with pytest.raises(DataError, match="tokens are 0 to 4"):
        count_ngrams(text, 5, 2)


@pytest.mark.parametrize("largest", [0, 5, 1 << 40, (1 << 62) + 12])
def test_distinct_keys_of_any_size(largest: int) -> None:
    """Places fit beside small keys; large ones are sorted otherwise."""
    generator = torch.Generator().manual_seed(largest % 97)
    key = torch.randint(0, 50, (1000,), generator=generator) * max(1, largest // 50)
    key[17] = largest
    keys, count, place = ranked(key)
    expected, where, counts = torch.unique(key, return_inverse=True, return_counts=True)
    assert torch.equal(keys, expected)
    assert torch.equal(count, counts)
    assert torch.equal(place.long(), where)
    assert [len(t) for t in ranked(key[:0])] == [0, 0, 0]
