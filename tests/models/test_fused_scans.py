"""The recurrences by kernels on CUDA against those in plain torch."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from clso.device import has_triton
from clso.models import cuda_selective, nsm_recurrence, scan, selective
from clso.models.fused import difference, with_gradients
from clso.models.layers import LSTMLayer, in_chunks, init_weights
from clso.models.nsm_mixer import StateMixer
from clso.models.turing import TuringMemory

pytestmark = pytest.mark.skipif(
    not (torch.cuda.is_available() and has_triton()), reason="needs CUDA and Triton"
)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (2, 5, 4, 3), (1, 700, 6), (2, 1030, 2), (1, 300, 4000)]
)
def test_a_linear_scan(shape: tuple[int, ...]) -> None:
    from clso.models import triton_scan

    generator = torch.Generator().manual_seed(0)
    decay = torch.rand(shape, generator=generator) ** 0.1
    decay[:, ::50] = 0.0  # forgets all
    decay[:, 7::50] = 1e-30
    inputs = torch.randn(shape, generator=generator)
    initial = torch.randn(shape[:1] + shape[2:], generator=generator)
    found = triton_scan.linear_scan(decay.cuda(), inputs.cuda(), initial.cuda(), reverse=False)
    torch.testing.assert_close(
        found.cpu(), scan._plain(decay, inputs, initial), rtol=1e-5, atol=1e-5
    )
    found = triton_scan.linear_scan(
        decay.cuda(), inputs.cuda(), torch.zeros_like(initial).cuda(), reverse=True
    )
    torch.testing.assert_close(
        found.cpu(),
        scan._plain_back(decay, inputs, torch.zeros_like(initial)),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.parametrize(
    "sizes",
    [
        {"d": 64, "n_heads": 4, "n_states": 16, "chunk": 16, "n_tokens": 1024, "n_batch": 1},
        {"d": 32, "n_heads": 4, "n_states": 5, "chunk": 8, "n_tokens": 300, "n_batch": 3},
        {"d": 64, "n_heads": 4, "n_states": 16, "chunk": 4, "n_tokens": 1300, "n_batch": 1},
        {"d": 128, "n_heads": 2, "n_states": 8, "chunk": 32, "n_tokens": 70, "n_batch": 2},
        {"d": 64, "n_heads": 1, "n_states": 8, "chunk": 16, "n_tokens": 70, "n_batch": 2},
    ],
    ids=lambda sizes: " ".join(map(str, sizes.values())),
)
def test_the_states_of_an_nsm(sizes: dict[str, int], monkeypatch: Any) -> None:
    mixer = StateMixer(sizes["d"], sizes["n_heads"], sizes["n_states"], chunk=sizes["chunk"])
    init_weights(mixer, torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in mixer.named_parameters():
            if "bias" in name:
                p.normal_(0, 0.3, generator=generator)
        mixer.importance[1] = 0.0
        mixer.importance[2] = 3.0
    shape = (sizes["n_batch"], sizes["n_tokens"], sizes["d"])
    x = torch.randn(shape, generator=generator).cuda()
    mixer.cuda()
    results = []
    for form in ("triton", "plain"):
        monkeypatch.setattr(nsm_recurrence, "_form", lambda *_, form=form: form)
        own = x.clone().requires_grad_()
        states = mixer._states(in_chunks(own, sizes["chunk"]))
        weight = torch.randn(states.shape, generator=torch.Generator().manual_seed(2)).cuda()
        named = [own, *(p for name, p in mixer.named_parameters() if not name.startswith("out."))]
        found = torch.autograd.grad((states * weight).sum(), named, materialize_grads=True)
        results.append((states.detach(), found))
    (states, found), (expected, right) = results
    torch.testing.assert_close(states, expected, rtol=1e-5, atol=1e-5)
    for one, other in zip(found, right, strict=True):
        size = 1 + float(other.abs().max())
        torch.testing.assert_close(one / size, other / size, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sizes",
    [(64, 16, 16, 1, 1000), (32, 5, 4, 3, 70), (16, 3, 20, 2, 55), (128, 16, 1, 1, 40)],
    ids=lambda sizes: " ".join(map(str, sizes)),
)
def test_a_turing_memory(sizes: tuple[int, int, int, int, int], monkeypatch: Any) -> None:
    d, n_slots, chunk, n_batch, n_tokens = sizes
    generator = torch.Generator().manual_seed(0)
    memory = TuringMemory(d, n_slots, chunk)
    init_weights(memory, generator)
    with torch.no_grad():
        memory.heads.weight.mul_(3)
        memory.heads.bias.normal_(generator=generator)
        memory.heads.bias[2 * d : 2 * d + d // 2] = 20.0  # erases all
    memory.cuda()
    x = torch.randn(n_batch, n_tokens, d, generator=generator).cuda()
    results = []
    for form in (memory._fused, memory._in_torch):
        monkeypatch.setattr(memory, "_form", lambda _, form=form: form)
        own = x.clone().requires_grad_()
        out = memory.run(own)
        named = [own, *memory.parameters()]
        found = torch.autograd.grad([(one + 1).square().sum() for one in out], named)
        results.append([one.detach() for one in (*out, *found)])
    for one, other in zip(*results, strict=True):
        size = 1 + float(other.abs().max())
        torch.testing.assert_close(one / size, other / size, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sizes", [(1, 700, 6, 16), (2, 130, 3, 5), (2, 9, 2, 64), (40, 90, 130, 16)], ids=str
)
def test_a_selective_scan(sizes: tuple[int, int, int, int]) -> None:
    n_batch, n_tokens, e, n = sizes
    generator = torch.Generator().manual_seed(0)
    shapes = [(n_batch, n_tokens, size) for size in (e, e, n, n)]
    x, step, b, c = (torch.randn(shape, generator=generator).cuda() for shape in shapes)
    a = -torch.rand(e, n, generator=generator).cuda() * 10
    inputs = x, step.abs(), a, b, c
    found, expected = (
        with_gradients(scan, inputs) for scan in (selective._by(cuda_selective), selective._plain)
    )
    assert difference(found, expected) < 1e-5


@pytest.mark.parametrize("sizes", [(1, 600, 64, 2), (3, 50, 30, 1), (2, 1, 32, 1)], ids=str)
def test_an_lstm(sizes: tuple[int, int, int, int]) -> None:
    n_batch, n_tokens, d, n_layers = sizes
    generator = torch.Generator().manual_seed(0)
    layer = LSTMLayer(d, n_layers)
    with torch.no_grad():
        for p in layer.parameters():
            p.normal_(0, 0.3, generator=generator)
    layer.cuda()
    x = torch.randn(n_batch, n_tokens, d, generator=generator).cuda()
    results = []
    for form in (layer._fused, lambda x: layer.lstm(x)[0]):
        own = x.clone().requires_grad_()
        with torch.backends.cudnn.flags(enabled=False):  # which may round to TF32
            out = form(own)
        found = torch.autograd.grad((out + 1).square().sum(), [own, *layer.parameters()])
        results.append([out.detach(), *found])
    assert difference(*results) < 1e-5
