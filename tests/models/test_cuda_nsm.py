"""The state mixer's kernels in CUDA C++, compiled for a CPU, where each of their threads is a fiber, against plain torch."""

from __future__ import annotations

from functools import partial

import pytest
import torch
from torch import Tensor

from clso.models import cuda_nsm
from clso.models.nsm_mixer import StateMixer, _difference

SIZES = [(32, 2, 5, 4), (16, 1, 20, 7)]
"""Dimensions, heads, states, tokens of a chunk."""


def by_cuda(sizes: tuple[int, int, int, int], n_chunks: int, gradient: bool) -> float:
    how = partial(_difference, StateMixer._read_by_cuda, gradient, torch.device("cpu"), "gru")
    with torch.no_grad():
        return how(*sizes, n_chunks)


@pytest.mark.parametrize(
    ("sizes", "on_cpu"),
    [(SIZES[0], "forwards"), (SIZES[0], "backwards"), (SIZES[1], "backwards")],
    indirect=["on_cpu"],
    ids=str,
)
@pytest.mark.usefixtures("on_cpu")
def test_kernels_give_what_plain_torch_gives(sizes: tuple[int, int, int, int]) -> None:
    assert by_cuda(sizes, 5, gradient=True) < 1e-5


@pytest.mark.usefixtures("on_cpu")
def test_wide_models_are_read_without_a_gradient() -> None:
    assert by_cuda((128, 4, 3, 4), 3, gradient=False) < 1e-5


def read(mixer: StateMixer, x: Tensor, form: str = "cuda") -> list[Tensor]:
    """What tokens read, and all gradients."""
    inputs = x, *(p for name, p in mixer.named_parameters() if not name.startswith("out."))
    found: Tensor = getattr(mixer, f"_read_by_{form}")(x)
    return [found.detach(), *torch.autograd.grad(found.square().sum(), inputs)]


@pytest.mark.parametrize("on_cpu", ["forwards", "backwards"], indirect=True)
@pytest.mark.usefixtures("on_cpu")
def test_parts_of_a_sequence_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    d, heads, states, chunk = SIZES[0]
    generator = torch.Generator().manual_seed(3)
    mixer = StateMixer(d, heads, states, chunk=chunk)
    with torch.no_grad():
        for p in mixer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / d**0.5)
        mixer.importance.copy_(torch.tensor([0.5, 0.0, 1.0, 2.0, -1.0]))  # two are off
    x = torch.randn(2, 7, chunk, d, generator=generator, requires_grad=True)
    plain, whole = read(mixer, x, "torch"), read(mixer, x)
    monkeypatch.setattr(cuda_nsm, "_SEGMENTS", 3)
    monkeypatch.setattr(cuda_nsm, "_LEAST", 1)
    for a, b, c in zip(read(mixer, x), whole, plain, strict=True):
        assert torch.allclose(a, b, atol=1e-5, rtol=1e-5)
        assert torch.allclose(a, c, atol=1e-4, rtol=1e-4)


@pytest.mark.usefixtures("on_cpu")
def test_what_was_read_does_not_depend_on_later_tokens() -> None:
    d, heads, states, chunk = SIZES[0]
    mixer = StateMixer(d, heads, states, chunk=chunk)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in mixer.parameters():
            p.copy_(torch.randn(p.shape, generator=generator) / d**0.5)
    x = torch.randn(1, 4, chunk, d, generator=generator)
    later = x.clone()
    later[:, 2, 1:] += 1
    with torch.no_grad():
        a, b = mixer._read_by_cuda(x), mixer._read_by_cuda(later)
    assert torch.equal(a[:, :2], b[:, :2])
    assert torch.equal(a[:, 2, 0], b[:, 2, 0])
    assert not torch.equal(a[:, 2, 1], b[:, 2, 1])
    assert not torch.equal(a[:, 3], b[:, 3])


def test_sizes_that_kernels_do_not_take(monkeypatch: pytest.MonkeyPatch) -> None:
    device = torch.device("cuda")
    fits = partial(cuda_nsm.fits.__wrapped__, gradient=True)
    without_gradient = partial(cuda_nsm.fits.__wrapped__, gradient=False)
    monkeypatch.setattr(cuda_nsm, "has_clusters", lambda device: True)
    assert all(fits(device, *sizes) for sizes in (*SIZES, (64, 4, 16, 16)))
    for sizes in (
        (64, 8, 16, 16),
        (36, 1, 16, 16),
        (64, 4, 33, 16),
        (64, 4, 200, 16),
        (128, 2, 16, 16),
    ):
        assert not fits(device, *sizes), sizes
    assert without_gradient(device, 128, 2, 16, 16)
    assert not without_gradient(device, 128, 1, 16, 16)
    monkeypatch.setattr(cuda_nsm, "has_clusters", lambda device: False)
    assert not fits(device, 64, 4, 16, 16)
