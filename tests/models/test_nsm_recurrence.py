"""The states of an NSM and their gradient against the recurrence, chunk by chunk under autograd."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from clso.models import native
from clso.models.layers import in_chunks, init_weights, merge_heads, split_heads
from clso.models.nsm_mixer import Gate, StateMixer
from clso.models.nsm_routing import attend, top_weights

CASES = st.fixed_dictionaries(
    {
        "n_tokens": st.sampled_from([1, 2, 7, 16, 33]),
        "chunk": st.sampled_from([1, 3, 4, 16]),
        "n_states": st.sampled_from([1, 3, 5]),
        "gate": st.sampled_from(["gru", "lstm"]),
        "top_k": st.sampled_from([0, 1, 2]),
        "n_batch": st.sampled_from([1, 2]),
        "off": st.booleans(),
        "size": st.sampled_from([0.3, 1.0, 20.0]),  # of the gate's biases: 20 shuts it, or opens it
    }
)


def mixer_of(case: dict[str, Any], d_model: int = 8) -> StateMixer:
    n_states = case["n_states"]
    mixer = StateMixer(
        d_model, 2, n_states, gate=case["gate"], top_k=min(case["top_k"], n_states),
        chunk=case["chunk"],
    )  # fmt: skip
    init_weights(mixer, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in mixer.named_parameters():
            if "bias" in name:
                size = case["size"] if "cell" in name else 0.3
                p.normal_(0, size, generator=generator)
        if case["off"] and n_states > 1:
            mixer.importance[1:] = torch.tensor([0.0, 2.0, -0.3, 0.5])[: n_states - 1]
    return mixer


def step_by_step(mixer: StateMixer, x: Tensor) -> Tensor:
    """All states (J + 1, B, S, width), each from the one before it, by torch's own cells."""
    gate: Gate = mixer.gate
    importance, scale = mixer.weights_of_states(), (mixer.d_model // mixer.n_heads) ** -0.5
    _, queries, _, sent = (
        split_heads(m, mixer.n_heads)
        for m in mixer.token_maps(in_chunks(x, mixer.chunk)).chunk(4, dim=-1)
    )
    states = [mixer.initial.expand(len(x), -1, -1)]
    for query, value in zip(queries.unbind(1), sent.unbind(1), strict=True):
        maps = mixer.state_maps(mixer.state_norm(gate.shown(states[-1]))).chunk(3, dim=-1)
        talk, key, content = (split_heads(m, mixer.n_heads) for m in maps)
        routed = top_weights(attend(scale * query @ key.mT, importance), mixer.top_k)
        heard = attend(scale * talk @ key.mT, importance) @ content
        mass = routed.sum(2)
        message = routed.mT @ value / mass[..., None].clamp_min(1e-6)
        inputs = torch.cat((merge_heads(message), merge_heads(heard)), dim=2)
        kept = torch.exp(-mass.mean(1))[..., None]
        states.append(torch.lerp(gate(inputs, states[-1]), states[-1], kept))
    return torch.stack(states)


def gradients(states: Tensor, x: Tensor, mixer: StateMixer) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    loss = (states * torch.randn(states.shape, generator=generator).to(states)).sum()
    named = {"x": x} | {
        name: p for name, p in mixer.named_parameters() if not name.startswith("out.")
    }
    found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    return dict(zip(named, found, strict=True))


def draw(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2)).requires_grad_()


@pytest.mark.parametrize("in_c", [True, False])
@settings(max_examples=40)
@given(case=CASES)
def test_states_and_gradients_are_those_of_the_recurrence(in_c: bool, case: dict[str, Any]) -> None:
    mixer, x = mixer_of(case), draw(case["n_batch"], case["n_tokens"], 8)
    if in_c and not native.is_possible(x):
        pytest.skip("needs a C compiler")
    with pytest.MonkeyPatch.context() as patch:
        if not in_c:
            patch.setattr(native, "is_possible", lambda x: False)
        found = mixer._states(in_chunks(x, mixer.chunk))
    expected = step_by_step(mixer, x)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
    right = gradients(expected, x, mixer)
    for name, gradient in gradients(found, x, mixer).items():
        size = 1 + float(right[name].abs().max())
        torch.testing.assert_close(gradient / size, right[name] / size, rtol=0, atol=1e-5)


@pytest.mark.parametrize("gate", ["gru", "lstm"])
def test_long_gradients_in_segments_are_exact(gate: str) -> None:
    case = {"n_states": 4, "gate": gate, "top_k": 0, "chunk": 2, "off": True, "size": 0.3}
    mixer, x = mixer_of(case).double(), draw(2, 150, 8).detach().double().requires_grad_()
    expected, found = step_by_step(mixer, x), mixer._states(in_chunks(x, mixer.chunk))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    right = gradients(expected, x, mixer)
    for name, gradient in gradients(found, x, mixer).items():
        torch.testing.assert_close(gradient, right[name], rtol=1e-8, atol=1e-8)


def test_a_forward_pass_keeps_its_input_and_the_states() -> None:
    mixer = StateMixer(32, 2, 8, chunk=16)
    init_weights(mixer, torch.Generator().manual_seed(0))
    x = draw(1, 1024, 32)
    kept: dict[int, int] = {}

    def keep(t: Tensor) -> Tensor:
        kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with saved_tensors_hooks(keep, lambda t: t):
        out = mixer(x)
    weights = sum(4 * p.numel() for p in mixer.parameters())
    states = 4 * (1024 // 16 + 1) * 8 * 32
    # and what the last matrix reads
    assert sum(kept.values()) < 2 * x.nbytes + states + 4 * weights
    assert out.requires_grad
