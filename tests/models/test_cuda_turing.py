"""A Turing memory's kernels in CUDA C++, compiled for a CPU, against plain torch."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from clso.models import cuda_turing
from clso.models.fused import difference, with_gradients
from clso.models.turing import TuringMemory

SIZES = [  # d, slots, tokens of a chunk, chunks, sequences: each is compiled
    (64, 16, 16, 3, 1),
    (16, 5, 4, 7, 3),
    (48, 3, 1, 4, 2),
    (30, 20, 20, 2, 2),
]


@pytest.mark.parametrize("sizes", SIZES, ids=lambda sizes: " ".join(map(str, sizes)))
@pytest.mark.parametrize("on_cpu", ["forwards", "backwards"], indirect=True)
@pytest.mark.parametrize(("strength", "tolerance"), [(0.0, 1e-5), (8.0, 1e-4), (30.0, 1e-3)])
@pytest.mark.usefixtures("on_cpu")
def test_kernels_give_what_plain_torch_gives(
    sizes: tuple[int, int, int, int, int], strength: float, tolerance: float
) -> None:
    d, n_slots, chunk, n_chunks, n_batch = sizes
    assert cuda_turing.fits(d, n_slots, chunk)
    heads, initial = drawn(n_batch, n_chunks * chunk, d, n_slots)
    heads[..., -2:] += strength
    heads[..., 2 * d : 2 * d + d // 2] += 4 * strength  # erases all
    assert error(TuringMemory(d, n_slots, chunk), heads, initial) < tolerance


@pytest.mark.usefixtures("on_cpu")
def test_scores_far_from_zero() -> None:
    heads, initial = drawn(1, 8, 16, 5)
    heads[..., -2:] = 300.0
    assert error(TuringMemory(16, 5, 4), heads, initial) < 1e-3


def drawn(n_batch: int, n_tokens: int, d: int, n_slots: int) -> list[Tensor]:
    """What heads say, and a memory."""
    generator = torch.Generator().manual_seed(0)
    shapes = (n_batch, n_tokens, 4 * d + 2), (n_slots, d)
    return [torch.randn(shape, generator=generator) for shape in shapes]


def error(layer: TuringMemory, *inputs: Tensor) -> float:
    """Of results and all gradients: from plain torch's in float64."""
    found = with_gradients(layer._fused, inputs)
    return difference(found, with_gradients(layer._in_torch, [x.double() for x in inputs]))


@pytest.mark.parametrize("only", range(3))
@pytest.mark.usefixtures("on_cpu")
def test_gradients_of_one_result(only: int) -> None:
    layer = TuringMemory(16, 5, 4)
    found, expected = (
        with_gradients(lambda *given, go=go: go(*given)[only], drawn(2, 8, 16, 5))
        for go in (layer._fused, layer._in_torch)
    )
    assert difference(found, expected) < 1e-5


def test_sizes_that_kernels_take() -> None:
    assert cuda_turing.fits(64, 16, 32)
    assert cuda_turing.fits(128, 16, 16)
    for sizes in ((64, 32, 32), (144, 4, 4), (64, 33, 4), (64, 4, 33)):
        assert not cuda_turing.fits(*sizes)
