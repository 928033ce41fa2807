"""Classes put like codes together; contexts with classes ask for them."""

from __future__ import annotations

import pytest
import torch

from clso.errors import ConfigError
from clso.grown.classes import token_classes
from clso.grown.skips import SkipContext, count_skip

from .example import CLASSES, VOCAB, some_text


def test_like_codes_are_in_one_class() -> None:
    g = torch.Generator().manual_seed(0)
    centre = torch.randn(6, 16, generator=g)
    true = torch.randint(0, 6, (300,), generator=g)
    true[:6] = torch.arange(6)  # the most frequent ones, which are the first centres
    codes = centre[true] + 0.1 * torch.randn(300, 16, generator=g)
    found = token_classes(codes, torch.arange(300, 0, -1), 6)
    pairs = set(zip(true.tolist(), found.tolist(), strict=True))
    assert len(pairs) == 6


def test_a_small_vocabulary_has_a_class_a_token() -> None:
    codes = torch.eye(5)
    assert sorted(token_classes(codes, torch.ones(5)).tolist()) == [0, 1, 2, 3, 4]


def test_a_context_of_classes_is_seen_more_often_than_one_of_tokens() -> None:
    text = some_text(3000, 0)
    tokens = count_skip(text, VOCAB, SkipContext((1, 0))).table(VOCAB)
    classed = count_skip(text, VOCAB, SkipContext((1, 0), (1, 0)), CLASSES).table(VOCAB)
    assert len(classed.count_class) < len(tokens.count_class)
    per_context = torch.zeros(len(classed.count_class), dtype=torch.float64)
    per_context.index_add_(0, classed.keys // VOCAB, classed.share.double())
    torch.testing.assert_close(per_context, torch.ones_like(per_context), atol=1e-6, rtol=0)


@pytest.mark.parametrize("lags", [(), (0, 1), (1, 1), (1, -1)])
def test_lags_that_do_not_fall_are_refused(lags: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="fall"):
        SkipContext(lags)


def test_classes_have_to_be_there() -> None:
    with pytest.raises(ConfigError, match="at lags"):
        SkipContext((1, 0), (2,))
    with pytest.raises(ConfigError, match="classes"):
        count_skip(some_text(100, 0), VOCAB, SkipContext((0,), (0,)))
