"""The scans, the selective state space and the Turing memory against their recurrences, token by
token."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from clso.models.layers import init_weights
from clso.models.scan import linear_scan
from clso.models.selective import SelectiveSSM, selective_scan
from clso.models.turing import TuringMemory


def uniform(*shape: int, seed: int = 0, low: float = -1.0, high: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.empty(shape, dtype=torch.float64).uniform_(low, high, generator=generator)


def gradients(out: Tensor, inputs: list[Tensor]) -> tuple[Tensor, ...]:
    return torch.autograd.grad((out * uniform(*out.shape, seed=9)).sum(), inputs)


@pytest.mark.parametrize("n_steps", [1, 2, 9, 10, 37])
def test_a_linear_scan_is_its_recurrence(n_steps: int) -> None:
    decay, inputs, initial = (
        uniform(2, n_steps, 3),
        uniform(2, n_steps, 3, seed=1),
        uniform(2, 3, seed=2),
    )
    decay[:, ::4] = 0.0  # forgets all: nothing is divided by what is left
    arguments = [x.requires_grad_() for x in (decay, inputs, initial)]
    h, states = initial, []
    for t in range(n_steps):
        h = decay[:, t] * h + inputs[:, t]
        states.append(h)
    expected, found = torch.stack(states, 1), linear_scan(decay, inputs, initial)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, arguments), gradients(expected, arguments))
    assert torch.equal(
        linear_scan(decay, inputs), linear_scan(decay, inputs, torch.zeros_like(initial))
    )


def test_a_selective_scan_is_its_recurrence() -> None:
    n_tokens = 300  # more than a segment
    x, step = uniform(2, n_tokens, 3), uniform(2, n_tokens, 3, seed=1, low=0.0)
    a, b, c = (
        uniform(3, 4, low=-2.0, high=-0.01),
        uniform(2, n_tokens, 4, seed=2),
        uniform(2, n_tokens, 4, seed=3),
    )
    arguments = [v.requires_grad_() for v in (x, step, a, b, c)]
    h, outputs = torch.zeros(2, 3, 4, dtype=torch.float64), []
    for t in range(n_tokens):
        h = (
            torch.exp(step[:, t, :, None] * a) * h
            + (step[:, t] * x[:, t])[:, :, None] * b[:, t, None]
        )
        outputs.append((h * c[:, t, None]).sum(-1))
    expected, found = torch.stack(outputs, 1), selective_scan(x, step, a, b, c)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(gradients(found, arguments), gradients(expected, arguments))


def test_a_selective_scan_keeps_no_states() -> None:
    n_tokens, width, n_states = 600, 4, 8
    x, a, b = (
        uniform(1, n_tokens, width).requires_grad_(),
        -uniform(width, n_states, low=0),
        uniform(1, n_tokens, n_states),
    )
    kept: list[int] = []

    def pack(x: Tensor) -> Tensor:
        kept.append(x.untyped_storage().nbytes())
        return x

    with saved_tensors_hooks(pack, lambda x: x):
        y = selective_scan(x, x.sigmoid(), a, b, b)
        held = y.square()  # keeps y
    assert held.requires_grad
    assert kept
    assert max(kept) <= b.nbytes < x.nbytes * n_states


def test_a_selective_layer_starts_with_small_steps() -> None:
    layer = SelectiveSSM(32)
    init_weights(layer, torch.Generator().manual_seed(0))
    steps = F.softplus(layer.dt_proj.bias)
    assert 1e-3 <= steps.min() < 5e-3 < 2e-2 < steps.max() <= 0.1
    torch.testing.assert_close(-torch.exp(layer.A_log)[5], -torch.arange(1.0, 17.0))


@pytest.mark.parametrize("chunk", [1, 5])
def test_a_turing_memory_is_its_recurrence(chunk: int) -> None:
    d, n_slots, n_tokens = 6, 4, 23
    layer = TuringMemory(d, n_slots, chunk).double()
    init_weights(layer, torch.Generator().manual_seed(0))
    x = uniform(2, n_tokens, d, low=-2.0, high=2.0)
    interface = layer.heads(x)
    strength = 1 + F.softplus(interface[..., -2:])

    def address(memory: Tensor, key: Tensor, strength: Tensor) -> Tensor:
        return torch.softmax(
            strength[:, None] * F.cosine_similarity(memory, key[:, None], dim=-1), dim=-1
        )

    memory = layer.initial.expand(2, -1, -1)
    outputs, reads, writes = [], [], []
    for t in range(n_tokens):
        if t % chunk == 0:
            start = memory  # what the chunk's tokens see
        now = interface[:, t]
        reads.append(address(start, now[:, :d], strength[:, t, 0]))
        writes.append(address(start, now[:, d : 2 * d], strength[:, t, 1]))
        read = (reads[-1][:, :, None] * start).sum(1)
        outputs.append(layer.out(torch.cat((x[:, t], read), dim=1)))
        weight, erase, add = (
            writes[-1][:, :, None],
            torch.sigmoid(now[:, None, 2 * d : 3 * d]),
            now[:, None, 3 * d : 4 * d],
        )
        memory = memory * (1 - weight * erase) + weight * add
    for found, expected in zip(layer.run(x), (outputs, reads, writes), strict=True):
        torch.testing.assert_close(found, torch.stack(expected, 1))
    torch.testing.assert_close(layer(x), torch.stack(outputs, 1))
