"""The log-bilinear expert: distributions, causality, and a fit that helps."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch

from clso.grown.codes import CodeFamily, grow_codes
from clso.grown.log_bilinear import LogBilinear, fit_maps, log_bilinear
from clso.grown.statistics import count_pairs

V, T = 60, 16


def text(n: int, seed: int) -> torch.Tensor:
    """A text whose next token is told by the two last ones, every second time."""
    g = torch.Generator().manual_seed(seed)
    noise = torch.randint(V, (n,), generator=g)
    noisy = torch.rand(n, generator=g) < 0.5
    out = noise.clone()
    for t in range(2, n):
        if not noisy[t]:
            out[t] = (out[t - 1] // 10 * 10 + out[t - 2] // 6) % V
    return out


@pytest.fixture(scope="module")
def model() -> LogBilinear:
    family = CodeFamily(rank=8, smoothing=0.7, discount=0.4, unseen_weight=0.003)
    return log_bilinear(grow_codes(count_pairs(text(4000, 0), V), family))


@pytest.fixture(scope="module")
def blocks() -> torch.Tensor:
    return text(512 * T, 1).view(512, T)


def loss(model: LogBilinear, blocks: torch.Tensor) -> float:
    return -float(model.target_probabilities(blocks).log().mean())


def test_both_ways_give_the_same_probabilities(model, blocks):
    whole = model.target_probabilities(blocks[:3])
    for block, row in zip(blocks[:3], whole, strict=True):
        for t in (1, 2, T - 1):
            p = model.distribution(block[:t])
            assert float(p.sum()) == pytest.approx(1, abs=1e-9)
            assert float(p[block[t]]) == pytest.approx(float(row[t - 1]), rel=1e-4)


def test_a_later_token_changes_nothing_earlier(model, blocks):
    changed = blocks.clone()
    changed[:, 9:] = (changed[:, 9:] + 1) % V
    a, b = model.features(blocks), model.features(changed)
    torch.testing.assert_close(a[:, :9], b[:, :9], rtol=0, atol=1e-5)
    assert not torch.allclose(a[:, 9:], b[:, 9:])


def test_a_fit_finds_what_the_token_before_the_last_tells(model, blocks):
    fitted = fit_maps(model, blocks, steps=10)
    held_out = text(512 * T, 2).view(512, T)
    assert loss(fitted, blocks) < loss(model, blocks) - 0.1
    assert loss(fitted, held_out) < loss(model, held_out) - 0.05


def test_more_steps_never_make_the_fitted_text_less_likely(model, blocks):
    losses = [loss(fit_maps(model, blocks, steps=n), blocks) for n in range(6)]
    assert all(b <= a + 1e-6 for a, b in pairwise(losses))


def test_a_model_says_its_bytes(model):
    f, r = model.maps.shape
    assert model.n_bytes == 2 * V * (2 * r + 1) + 4 * f * r
    assert math.isfinite(float(model.maps.sum()))
