"""What an NSM's tokens read, and its gradient, against attention token by token."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from clso.models import native, native_nsm
from clso.models.layers import in_chunks, init_weights
from clso.models.nsm_mixer import StateMixer
from clso.models.nsm_routing import attend

CASES = st.fixed_dictionaries(
    {
        "n_chunks": st.sampled_from([1, 2, 3, 6]),
        "chunk": st.sampled_from([1, 2, 5, 16]),
        "n_states": st.sampled_from([1, 3, 8, 17]),
        "d_and_heads": st.sampled_from([(8, 1), (8, 2), (6, 3), (24, 4)]),
        "gate": st.sampled_from(["gru", "lstm"]),
        "top_k": st.sampled_from([0, 1, 2]),
        "n_batch": st.sampled_from([1, 3]),
        "off": st.booleans(),
        "part": st.sampled_from([1, 20, 4096]),
        "block": st.sampled_from([1, 3, 8]),
    }
)

in_c = pytest.mark.skipif(not native.is_possible(torch.zeros(1)), reason="needs a C compiler")


def mixer_of(case: dict[str, Any]) -> StateMixer:
    """Every weight is drawn, some states are switched off."""
    (d, n_heads), s = case["d_and_heads"], case["n_states"]
    mixer = StateMixer(
        d, n_heads, s, gate=case["gate"], top_k=min(case["top_k"], s), chunk=case["chunk"]
    )
    init_weights(mixer, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in mixer.named_parameters():
            if "bias" in name or "norm" in name:
                p.add_(torch.randn(p.shape, generator=generator), alpha=0.3)
        mixer.importance.copy_(torch.rand(s, generator=generator) + 0.5)
        if case["off"]:
            mixer.importance[::2] = -0.1
    return mixer


def tokens_of(case: dict[str, Any]) -> Tensor:
    """The last chunk is not full."""
    n_tokens = case["n_chunks"] * case["chunk"] - case["chunk"] // 2
    shape = case["n_batch"], n_tokens, case["d_and_heads"][0]
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def token_by_token(mixer: StateMixer, x: Tensor) -> Tensor:
    """What each token reads, mapped, from the states as its chunk found them."""
    c, d, n_heads = mixer.chunk, mixer.d_model, mixer.n_heads
    states = mixer.gate.shown(mixer._states(in_chunks(x, c)))
    query, _, *near = mixer.token_maps(x).chunk(4, dim=-1)
    rows = []
    for t in range(x.shape[1]):
        _, *of_states = mixer.state_maps(mixer.state_norm(states[t // c])).chunk(3, dim=-1)
        since = max(0, t // c - 1) * c
        key, value = (
            torch.cat((own, other[:, since : t + 1]), dim=1)
            .view(len(x), -1, n_heads, d // n_heads)
            .transpose(1, 2)
            for own, other in zip(of_states, near, strict=True)
        )
        importance = torch.cat((mixer.weights_of_states(), x.new_ones(t + 1 - since)))
        asked = query[:, t].view(len(x), n_heads, 1, -1) * (d // n_heads) ** -0.5
        rows.append((attend(asked @ key.mT, importance) @ value).reshape(len(x), d))
    return mixer.out(torch.stack(rows, dim=1))


def results(out: Tensor, x: Tensor, mixer: StateMixer) -> dict[str, Tensor]:
    """What came out, and gradients of everything under a fixed combination of it."""
    generator = torch.Generator().manual_seed(3)
    loss = (out * torch.randn(out.shape, generator=generator).to(out)).sum()
    named = {"x": x, **dict(mixer.named_parameters())}
    found = torch.autograd.grad(loss, list(named.values()), materialize_grads=True)
    return {"out": out.detach(), **dict(zip(named, found, strict=True))}


@pytest.mark.parametrize("form", [pytest.param("c", marks=in_c), "torch"])
@settings(max_examples=25)
@given(case=CASES)
def test_what_is_read_and_its_gradients_are_those_of_attention(
    form: str, case: dict[str, Any]
) -> None:
    mixer, x = mixer_of(case), tokens_of(case).requires_grad_()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native_nsm, "_MOST_TOKENS", case["part"])
        patch.setattr(native_nsm, "_BLOCK", case["block"])
        if form == "torch":
            patch.setattr(native, "is_possible", lambda x: False)
        found = results(mixer(x), x, mixer)
        with torch.no_grad():
            torch.testing.assert_close(mixer(x), found["out"], rtol=1e-5, atol=1e-5)
    exact = mixer.double(), x.detach().double().requires_grad_()
    for name, right in results(token_by_token(*exact), exact[1], exact[0]).items():
        size = right.abs().max().clamp_min(1)
        torch.testing.assert_close(found[name] / size, (right / size).float(), rtol=0, atol=1e-5)


@in_c
@pytest.mark.parametrize(("n_batch", "n_chunks"), [(1, 175), (3, 50)])
def test_threads_change_no_bit(n_batch: int, n_chunks: int) -> None:
    case = {"n_chunks": n_chunks, "chunk": 4, "n_states": 3, "d_and_heads": (8, 2), "gate": "gru"}
    case |= {"top_k": 0, "n_batch": n_batch, "off": True}
    mixer, x = mixer_of(case), tokens_of(case)
    chunks = in_chunks(x, mixer.chunk).requires_grad_()
    before, found = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3, 5):
            torch.set_num_threads(n_threads)
            out = mixer._read_in_c(chunks)
            found.append([out, *torch.autograd.grad(out.sin().sum(), chunks)])
    finally:
        torch.set_num_threads(before)
    for other in found[1:]:
        assert all(map(torch.equal, found[0], other))
