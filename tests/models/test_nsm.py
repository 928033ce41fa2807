"""SimpleNSM: its chunks against loops over tokens, its state manager, and what can be seen of
it."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from torch import Tensor

from clso import plugins
from clso.errors import ConfigError
from clso.models.layers import init_weights
from clso.models.nsm import NSMConfig, SimpleNSM
from clso.models.nsm_mixer import Gate, StateMixer
from clso.models.nsm_routing import attend, attention, top_weights
from clso.models.nsm_states import allocate_states, prune_states, state_importance
from clso.models.nsm_trace import summary

VARIANTS: list[dict[str, Any]] = [
    {"chunk": 4},
    {"chunk": 1, "gate": "lstm"},
    {"chunk": 3, "gate": "lstm", "top_k": 2},
    {"chunk": 64, "top_k": 1},
]
variants = pytest.mark.parametrize("fields", VARIANTS, ids=lambda f: " ".join(map(str, f.values())))
TOKENS = torch.randint(11, (2, 19), generator=torch.Generator().manual_seed(0))


def make(fields: dict[str, Any]) -> SimpleNSM:
    config = NSMConfig(11, d_model=8, n_heads=2, n_states=5, **fields)
    model = SimpleNSM(config)
    model.init_weights(torch.Generator().manual_seed(0))
    for i, mixer in enumerate(model.mixers()):
        mixer.importance.data = torch.tensor([1.0, 0.5, 0.0, 2.0, -0.3]).roll(i)  # two of them off
    return model


def by_token(mixer: StateMixer, x: Tensor) -> Tensor:
    """The equations of `StateMixer` for one sequence (T, d), one token, head and state at a
    time."""
    d, width, chunk = mixer.d_model, mixer.d_model // mixer.n_heads, mixer.chunk
    importance = mixer.importance.clamp(min=0)
    heads = [slice(h * width, (h + 1) * width) for h in range(mixer.n_heads)]
    read_query, route_query, key, value = mixer.token_maps(x).split(d, dim=1)
    state, rows = mixer.initial, []
    for start in range(0, len(x), chunk):
        tokens = range(start, min(start + chunk, len(x)))
        talk, state_key, state_value = mixer.state_maps(mixer.state_norm(state[:, :d])).split(
            d, dim=1
        )
        sent, heard, mass = torch.zeros_like(talk), torch.zeros_like(talk), torch.zeros(len(state))
        for h in heads:
            for t in tokens:
                near = range(max(0, start - chunk), t + 1)
                keys = torch.cat((state_key[:, h], key[near.start : near.stop, h]))
                values = torch.cat((state_value[:, h], value[near.start : near.stop, h]))
                weights = torch.cat((importance, torch.ones(len(near)))) * torch.exp(
                    keys @ read_query[t, h] / width**0.5
                )
                if h.start == 0:
                    rows.append(torch.zeros(d))
                rows[t] = rows[t] + torch.nn.functional.pad(
                    weights @ values / weights.sum(), (h.start, d - h.stop)
                )
            received = torch.zeros(len(state))
            # the last chunk is filled up, after everything that is read
            for t in range(start, start + chunk):
                query = route_query[t, h] if t < len(x) else mixer.token_maps.bias[d : 2 * d][h]
                content = value[t, h] if t < len(x) else mixer.token_maps.bias[3 * d :][h]
                weights = importance * torch.exp(state_key[:, h] @ query / width**0.5)
                if mixer.top_k:
                    weights = weights * (
                        weights >= weights.sort(descending=True).values[mixer.top_k - 1]
                    )
                weights = weights / weights.sum()
                received = received + weights
                sent[:, h] += weights[:, None] * content
            sent[:, h] /= received.clamp(min=1e-6)[:, None]
            mass = mass + received / mixer.n_heads
            for s in range(len(state)):
                weights = importance * torch.exp(state_key[:, h] @ talk[s, h] / width**0.5)
                heard[s, h] = weights @ state_value[:, h] / weights.sum()
        told = torch.cat((sent, heard), dim=1)
        if isinstance(mixer.gate.cell, torch.nn.GRUCell):
            new = mixer.gate.cell(told, state)
        else:
            new = torch.cat(mixer.gate.cell(told, (state[:, :d], state[:, d:])), dim=1)
        state = state + (1 - torch.exp(-mass))[:, None] * (new - state)
    return mixer.out(torch.stack(rows))


@variants
@torch.no_grad()
def test_chunks_are_the_loop_over_tokens(fields: dict[str, Any]) -> None:
    model = make(fields)
    x = model.embed(TOKENS)
    for mixer in model.mixers():
        found = mixer(x)
        for i in range(len(x)):
            torch.testing.assert_close(found[i], by_token(mixer, x[i]), rtol=0, atol=1e-5)


def test_attend_is_a_softmax_with_weights() -> None:
    scores = torch.randn(3, 5, generator=torch.Generator().manual_seed(0)) * 50
    torch.testing.assert_close(attend(scores, torch.ones(5)), scores.softmax(-1))
    importance = torch.tensor([0.5, 0.0, 1.0, 0.0, 2.0])
    expected = (scores + importance.log()).softmax(-1)
    torch.testing.assert_close(attend(scores, importance), expected)
    assert not attend(scores, torch.zeros(5)).any()  # nobody is there, nothing is sent
    for weights in (importance, importance + 0.5):
        torch.testing.assert_close(attention(weights)(scores), attend(scores, weights))


def test_top_k_keeps_the_heaviest() -> None:
    scores = torch.tensor([[1.0, 3.0, 2.0, 4.0]])
    routed = top_weights(attend(scores, torch.tensor([1.0, 1.0, 1.0, 0.0])), 2)
    torch.testing.assert_close(
        routed, torch.tensor([[0.0, 1 / (1 + math.exp(-1)), 1 / (1 + math.e), 0.0]])
    )
    for everything in (0, 4):
        assert torch.equal(
            top_weights(attend(scores, torch.ones(4)), everything), attend(scores, torch.ones(4))
        )


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_gate_is_torchs_cell(kind: Any) -> None:
    gate = Gate(kind, 6, 4)
    told, state = torch.randn(2, 3, 6), torch.randn(2, 3, gate.width)
    new = gate(told, state)
    one = gate.cell(
        told[1, 2:], state[1, 2:] if kind == "gru" else (state[1, 2:, :4], state[1, 2:, 4:])
    )
    torch.testing.assert_close(new[1, 2:], one if kind == "gru" else torch.cat(one, dim=1))
    assert torch.equal(gate.shown(state), state[..., :4])


def test_a_state_that_nothing_is_sent_to_keeps_still() -> None:
    mixer = StateMixer(8, 2, 4, top_k=1, chunk=2)
    init_weights(mixer, torch.Generator().manual_seed(0))
    passage = mixer.run(torch.randn(1, 2, 8, generator=torch.Generator().manual_seed(1)))
    mass = passage.routing.sum(dim=(1, 2))[0]
    still = (passage.states[0, 1] == passage.states[0, 0]).all(dim=1)
    assert torch.equal(still, mass == 0)
    assert 0 < still.sum() < 4


@variants
@torch.no_grad()
def test_states_that_are_switched_off_can_be_pruned(fields: dict[str, Any]) -> None:
    model = make(fields)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    small = prune_states(model, 3)
    assert small.config.n_states == 3
    assert sum(p.numel() for p in small.parameters()) < sum(p.numel() for p in model.parameters())
    torch.testing.assert_close(small(TOKENS), model(TOKENS), rtol=0, atol=1e-6)
    assert torch.equal(state_importance(small), torch.tensor([[1.0, 0.5, 2.0], [1.0, 0.5, 2.0]]))
    # what matters is missed
    assert not torch.allclose(prune_states(model, 2)(TOKENS), model(TOKENS), rtol=0, atol=1e-4)
    assert prune_states(model, 1).config.top_k <= 1
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    for wrong in (0, 6):
        with pytest.raises(ConfigError, match="from 1 to 5 states are kept"):
            prune_states(model, wrong)


@variants
def test_new_states_change_nothing_until_they_are_trained(fields: dict[str, Any]) -> None:
    model = make(fields)
    large = allocate_states(model, 2, torch.Generator().manual_seed(1))
    assert large.config.n_states == 7
    torch.testing.assert_close(large(TOKENS), model(TOKENS), rtol=0, atol=1e-6)
    large.token_losses(TOKENS).mean().backward()  # type: ignore[no-untyped-call]
    for mixer in large.mixers():
        assert mixer.importance.grad is not None
        assert mixer.importance.grad.isfinite().all()
        assert mixer.importance.grad[-2:].abs().min() > 0  # they can come in
    pruned = prune_states(large, 3)
    torch.testing.assert_close(pruned(TOKENS), model(TOKENS), rtol=0, atol=1e-6)
    assert torch.equal(allocate_states(model, 0, torch.Generator())(TOKENS), model(TOKENS))
    with pytest.raises(ConfigError):
        allocate_states(model, -1, torch.Generator())


@variants
def test_a_trace_shows_the_pass(fields: dict[str, Any]) -> None:
    model = make(fields)
    logits = model(TOKENS)
    trace = model.trace(TOKENS)
    n_chunks = -(-19 // model.config.chunk)
    shapes = {
        "routing": (2, 2, 2, 19, 5),
        "reading": (2, 2, 2, 19, 5),
        "states": (2, 2, n_chunks + 1, 5, 8),
    }
    assert {name: tuple(x.shape) for name, x in trace.items()} == {**shapes, "importance": (2, 5)}
    torch.testing.assert_close(trace["routing"].sum(-1), torch.ones(2, 2, 2, 19))
    for layer in range(2):
        off = trace["importance"][layer] == 0
        assert off.sum() == 2
        assert not trace["routing"][layer][..., off].any()
    if model.config.top_k:
        assert ((trace["routing"] > 0).sum(-1) <= model.config.top_k).all()
    first = model.mixers()[0]
    passage = first.run(model.blocks[0].ln_1(model.embed(TOKENS)))  # type: ignore[union-attr, operator]
    torch.testing.assert_close(trace["states"][0], passage.states, rtol=0, atol=1e-6)
    torch.testing.assert_close(model(TOKENS), logits, rtol=0, atol=1e-6)
    found = summary(trace)
    assert json.loads(json.dumps(found)) == found
    assert all(sum(used) == pytest.approx(1, abs=1e-4) for used in found["utilisation"])
    assert [len(change) for change in found["state_change"]] == [n_chunks] * 2


def test_the_summary_of_known_routings() -> None:
    even, one = torch.full((1, 1, 1, 6, 4), 0.25), torch.zeros(1, 1, 1, 6, 4)
    one[..., 2] = 1.0
    found = summary({"routing": torch.cat((even, one)), "reading": torch.cat((even, one / 2))})
    assert found["routing_entropy"] == pytest.approx([1.0, 0.0], abs=1e-6)
    assert found["routing_sparsity"] == pytest.approx([0.0, 0.75], abs=1e-6)
    assert found["targets_used"] == pytest.approx([4.0, 1.0], abs=1e-5)
    assert found["utilisation"][0] == pytest.approx([0.25] * 4, abs=1e-6)
    assert found["utilisation"][1] == pytest.approx([0.0, 0.0, 1.0, 0.0], abs=1e-6)
    assert found["state_reading"] == pytest.approx([1.0, 0.5], abs=1e-6)
    assert summary({}) == {}


@pytest.mark.parametrize("family", ["advanced-hybrid", "sequential-hybrid", "lstm"])
def test_the_traces_of_other_families(family: str) -> None:
    kind = plugins.load("models", family).value
    model = kind(kind.Config(11, d_model=8, n_heads=2)).init_weights(
        torch.Generator().manual_seed(0)
    )
    found = summary(model.trace(TOKENS))
    assert bool(found) == (family != "lstm")
    if found:
        assert len(found["routing_entropy"]) == (1 if family == "advanced-hybrid" else 2)
        assert all(0 < entropy <= 1 for entropy in found["routing_entropy"])
        assert found["state_reading"] == [1.0] * len(found["routing_entropy"])
