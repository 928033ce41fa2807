"""Parameter, byte and FLOP counts agree with the stored tensors and with what PyTorch counts."""

from __future__ import annotations

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from clso.crystals import make_crystal

from .catalogue import CATALOGUE, SHAPES, Entry, random_input

every_crystal = pytest.mark.parametrize("entry", CATALOGUE, ids=str)


@every_crystal
def test_counts_match_the_stored_tensors(entry: Entry) -> None:
    for shape in SHAPES:
        check_counts(entry, shape)


def check_counts(entry: Entry, shape: tuple[int, int]) -> None:
    crystal = entry.make(shape)
    stored = crystal.tensors.values()
    assert crystal.n_bytes == sum(t.untyped_storage().nbytes() for t in stored if t.numel())
    if entry.family == "quantised":
        weights = shape[0] * shape[1]
        assert crystal.n_params == weights + 1
        assert crystal.n_bytes == -(-weights * int(entry.params["bits"]) // 8) + 4
    else:
        assert crystal.n_params == sum(
            t.numel() for t in stored if t.dtype not in (torch.int32, torch.int64)
        )


@every_crystal
def test_flops_equal_a_count_of_the_matrix_products(entry: Entry) -> None:
    for shape in SHAPES:
        check_flops(entry, shape)


def check_flops(entry: Entry, shape: tuple[int, int]) -> None:
    crystal = entry.make(shape)
    assert crystal.flops(10) == 10 * crystal.flops(1) <= 10 * 2 * shape[0] * shape[1]
    if entry.family == "sparse_random" and crystal.token_flops() < 2 * shape[0] * shape[1]:
        # A bag of columns is no matrix product: one multiply-add for each non-zero weight.
        assert crystal.flops(1) == 2 * int(torch.count_nonzero(crystal.to_dense()))
        return
    crystal.to_dense()
    x = random_input(10, shape[1], dtype=torch.float32)
    with FlopCounterMode(display=False) as counter:
        dense = crystal.to_dense()
    making_dense = counter.get_total_flops()
    assert dense.shape == shape
    with FlopCounterMode(display=False) as counter:
        crystal.matmul(x)
    # Where `matmul` falls back to the dense form, making that form is not the product's own cost.
    fallback = crystal.token_flops() >= 2 * shape[0] * shape[1]
    assert counter.get_total_flops() - (making_dense if fallback else 0) == crystal.flops(10)


def test_structure_saves() -> None:
    full = 2 * 128 * 128
    share = {
        "block_diagonal": 1 / 4,
        "low_rank": 1 / 8,
        "checkerboard": 1 / 2,
        "kronecker": 3 / 16,
        "quantised": 1,
        "identity": 0,
    }
    for family, expected in share.items():
        assert make_crystal(family, (128, 128)).flops(1) == pytest.approx(expected * full)


def test_fft_flops_are_below_dense() -> None:
    assert make_crystal("toeplitz", (2048, 2048)).flops(1) < 2 * 2048 * 2048 / 10
