"""The grown GPT-2's attention heads, each alone, in logical coordinates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clso.grown.patterns import PositionPattern, decaying, lag, position_codes
from clso.models.gpt2 import GPT2Config
from clso.search_spaces.gpt2.genes import layout_of
from clso.search_spaces.gpt2.heads import (
    NAME_SCALE,
    POSITION_RADIUS,
    Attention,
    context_head,
    context_queries,
    copy_head,
    copy_query,
    previous_token_head,
)

T, D = 32, 64
CONFIG = GPT2Config(vocab_size=50, n_positions=T, d_model=D, n_layers=2, n_heads=2)
LAYOUT = layout_of(CONFIG)
PROJECTION = torch.linalg.qr(torch.randn(D, D, generator=torch.Generator().manual_seed(0)))[0][
    : LAYOUT.identity, : LAYOUT.match
]


def attended(attention: Attention, head: int, x: Tensor) -> Tensor:
    """Causal attention weights (T, T) of a head on vectors x (T, d)."""
    q = x @ attention.query[head].T + attention.query_bias[head]
    scores = q @ (x @ attention.key[head].T).T / math.sqrt(attention.head_dim)
    future = torch.ones(T, T).triu(1).bool()
    return torch.softmax(torch.masked_fill(scores, future, -torch.inf), dim=1)


def stream(generator: int) -> Tensor:
    """Vectors (T, d) with position codes, codes and small names."""
    x = torch.zeros(T, D)
    random = torch.Generator().manual_seed(generator)
    x[:, LAYOUT.position_dims] = POSITION_RADIUS * position_codes(T).float()
    x[:, LAYOUT.code_dims] = torch.randn(T, LAYOUT.code, generator=random)
    x[:, LAYOUT.identity_dims] = NAME_SCALE * torch.randn(T, LAYOUT.identity, generator=random)
    return x


def test_the_previous_token_head_fetches_the_previous_name() -> None:
    attention, x = Attention(CONFIG), stream(1)
    previous_token_head(attention, 1, LAYOUT, PROJECTION)
    weights = attended(attention, 1, x)
    assert weights[1:].diagonal().min() > 0.99
    written = weights @ x @ attention.value[1].T @ attention.output[:, 1].T
    names = x[:, LAYOUT.identity_dims] / NAME_SCALE @ PROJECTION
    torch.testing.assert_close(written[1:, LAYOUT.match_dims], names[:-1], atol=0.02, rtol=0.02)
    assert not attention.query[0].any()
    assert not attention.output[:, 0].any()


def test_the_context_head_attends_by_its_pattern() -> None:
    attention, x = Attention(CONFIG), stream(2)
    context_head(attention, 0, LAYOUT)
    patterns = [lag(2, T), decaying(5, T)]
    queries = context_queries(patterns, LAYOUT, attention.head_dim)
    for pattern, query in zip(patterns, queries, strict=True):
        attention.query[0, : len(query)] = query
        weights = attended(attention, 0, x)
        torch.testing.assert_close(weights, pattern.weights(), atol=1e-3, rtol=1e-2)


def test_the_copy_head_finds_the_token_after_an_equal_one() -> None:
    attention, x = Attention(CONFIG), stream(3)
    copy_head(attention, 0, LAYOUT)
    attention.query[0, : LAYOUT.match] = 30 * copy_query(LAYOUT, PROJECTION, attention.head_dim)
    x[20, LAYOUT.identity_dims] = x[7, LAYOUT.identity_dims]  # the current token equals token 7
    names = x[:, LAYOUT.identity_dims] / NAME_SCALE @ PROJECTION
    x[1:, LAYOUT.match_dims] = names[:-1] / names[:-1].norm(dim=1, keepdim=True)
    assert attended(attention, 0, x)[20].argmax() == 8
    fetched = x @ attention.value[0].T @ attention.output[:, 0].T
    torch.testing.assert_close(
        fetched[:, LAYOUT.identity_dims], x[:, LAYOUT.identity_dims] / NAME_SCALE
    )


@pytest.mark.parametrize("pattern", [lag(1, 96), lag(5, 96), decaying(3, 96), decaying(40, 96)])
@pytest.mark.parametrize("leak", [1e-2, 1e-5])
def test_a_pattern_reaches_as_far_as_its_attention(pattern: PositionPattern, leak: float) -> None:
    weights, reach = pattern.weights().double(), pattern.reach(leak)
    n = len(weights)

    def beyond(window: int) -> float:
        """The most attention that any position pays to what a window does not hold."""
        return float(weights.tril(-window).sum(1).max()) if window < n else 0.0

    assert beyond(reach) <= leak * (1 + 1e-3)
    assert beyond(reach - 1) > leak * (1 - 1e-3)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 8, 15, 16, 17, 32])
@pytest.mark.parametrize("k", [0, 1, 2])
def test_a_lag_of_a_short_context(n: int, k: int) -> None:
    """Of these lengths some have whole turns of the slow circle where the fast one ends its first."""
    weights = lag(k, n).weights().double()
    assert weights.isfinite().all()
    rows = torch.arange(min(k, n), n)
    assert (weights[rows, rows - k] > 0.99).all()
