"""Pairs that are worth remembering, what to add to the code for them, and the names that tell them apart."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from clso.grown.codes import CodeFamily, grow_codes
from clso.grown.corrections import compensated, fit_corrections
from clso.grown.names import AT_OTHERS, AT_PAIR, detectors, projection, token_names
from clso.grown.statistics import count_pairs, kneser_ney
from clso.grown.trigrams import PairTargets, rank_pairs

V = 24


@pytest.fixture(scope="module")
def text() -> Tensor:
    """Random tokens, but that what follows the pairs (1, 2) and (3, 2) is always 5 or 6."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(V, (30_000,), generator=generator)
    at = torch.arange(10, 29_990, 10)
    first = torch.randint(2, (len(at),), generator=generator)
    tokens[at], tokens[at + 1], tokens[at + 2] = 1 + 2 * first, torch.tensor(2), 5 + first
    return tokens


@pytest.fixture(scope="module")
def targets(text: Tensor) -> PairTargets:
    return rank_pairs(text, kneser_ney(count_pairs(text, V)), 40)


def test_the_pairs_with_the_largest_gain_come_first(text: Tensor, targets: PairTargets) -> None:
    best = {
        (int(u), int(v)) for u, v in zip(targets.previous[:2], targets.current[:2], strict=True)
    }
    assert best == {(1, 2), (3, 2)}
    assert (targets.gain[:-1] >= targets.gain[1:]).all()
    assert targets.gain[1] > 10 * targets.gain[2]
    pairs = text[:-2] * V + text[1:-1]
    for i in (0, 1, 7):
        key = targets.previous[i] * V + targets.current[i]
        assert targets.count[i] == (pairs == key).sum()
        row = slice(int(targets.offset[i]), int(targets.offset[i + 1]))
        assert set(targets.token[row].tolist()) == set(text[2:][pairs == key].tolist())
        assert targets.share[row].sum() + targets.back_off[i] == pytest.approx(1, abs=1e-5)


def test_picked_pairs_keep_their_rows(targets: PairTargets) -> None:
    index = torch.tensor([5, 0, 3])
    picked = targets.at(index)
    for place, i in enumerate(index.tolist()):
        assert picked.count[place] == targets.count[i]
        ours = slice(int(picked.offset[place]), int(picked.offset[place + 1]))
        theirs = slice(int(targets.offset[i]), int(targets.offset[i + 1]))
        assert torch.equal(picked.token[ours], targets.token[theirs])
        assert torch.equal(picked.share[ours], targets.share[theirs])


def test_corrected_codes_say_what_follows_the_pair(text: Tensor, targets: PairTargets) -> None:
    codes = grow_codes(count_pairs(text, V), CodeFamily(12))
    row = codes.statistics.row
    added = fit_corrections(targets, codes.a, codes.b, codes.log_p, row)
    start = codes.a[targets.current]

    def divergence(code: Tensor) -> Tensor:
        """KL from what is said to the target, for each pair."""
        own = torch.softmax(start @ codes.b.T + codes.log_p, 1)
        q = targets.back_off[:, None] * own
        q[torch.repeat_interleave(targets.offset.diff()), targets.token] += targets.share
        said = torch.log_softmax(code @ codes.b.T + codes.log_p, 1)
        return (q * (q.log() - said)).sum(1)

    before, after = divergence(start), divergence(start + added)
    assert (after <= before + 1e-6).all()
    assert (after[:2] < 0.3 * before[:2]).all()
    assert torch.equal(added, fit_corrections(targets, codes.a, codes.b, codes.log_p, row))


def test_a_pair_is_fitted_alike_in_any_company(text: Tensor, targets: PairTargets) -> None:
    codes = grow_codes(count_pairs(text, V), CodeFamily(12))
    args = codes.a, codes.b, codes.log_p, codes.statistics.row
    some = torch.tensor([30, 1, 4])
    both = fit_corrections(targets, *args)[some], fit_corrections(targets.at(some), *args)
    together, alone = (
        torch.softmax((codes.a[targets.current[some]] + d) @ codes.b.T + codes.log_p, 1)
        for d in both
    )
    torch.testing.assert_close(alone, together, atol=1e-4, rtol=0)


def test_what_is_written_is_what_layer_norm_leaves() -> None:
    generator = torch.Generator().manual_seed(0)
    codes, wanted = (20 * torch.randn(50, 8, generator=generator) for _ in "ab")
    norm = 200.0
    other = (norm**2 - codes.square().sum(1, keepdim=True)).sqrt()
    vector = torch.cat([codes + compensated(wanted, codes, norm), other], 1)
    left = vector * norm / vector.norm(dim=1, keepdim=True)
    torch.testing.assert_close(left[:, :-1], codes + wanted, atol=1e-3, rtol=1e-4)


def test_names_and_their_first_dimensions_have_one_size() -> None:
    names = token_names(500, 20, 12, torch.device("cpu"))
    torch.testing.assert_close(names.norm(dim=1), torch.ones(500))
    matched = names @ projection(20, 12)
    torch.testing.assert_close(matched.norm(dim=1), torch.ones(500))
    assert (names @ names.T - torch.eye(500)).abs().mean() < 1 / math.sqrt(20)


def test_a_detector_fires_on_its_pair_alone() -> None:
    n, match = 200, 20
    names = token_names(n, 32, match, torch.device("cpu"))
    previous, current = torch.tensor([3, 9, 9, 150]), torch.tensor([4, 4, 9, 0])
    units = detectors(names, match, previous, current)
    assert units.separable.all()
    matched = names @ projection(32, match)
    for i in range(len(previous)):
        here = names @ names[current[i]]
        before = matched @ matched[previous[i]]
        w = units.of_current[i]
        score = (1 - w) * before[:, None] + w * here[None]  # every pair of tokens (n, n)
        at_unit = units.slope[i] * (score - 1) + AT_PAIR
        assert at_unit[previous[i], current[i]] == pytest.approx(AT_PAIR, abs=1e-3)
        at_unit[previous[i], current[i]] = -torch.inf
        assert at_unit.max() == pytest.approx(AT_OTHERS, abs=1e-3)
