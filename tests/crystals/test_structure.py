"""Each family has the structure that its name claims, checked against a definition written another
way."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch

from clso.crystals import make_crystal
from clso.crystals.block_diagonal import split_points
from clso.crystals.kronecker import nearest_divisor


def dense(family: str, shape: tuple[int, int], **params: float) -> torch.Tensor:
    return make_crystal(family, shape, seed=11, params=params).to_dense(torch.float64)


@pytest.mark.parametrize(("shape", "blocks"), [((12, 8), 4), ((13, 10), 4), ((5, 30), 3)])
def test_block_diagonal_is_zero_off_its_blocks(shape: tuple[int, int], blocks: int) -> None:
    w = dense("block_diagonal", shape, blocks=blocks)
    rows, columns = split_points(shape[0], blocks), split_points(shape[1], blocks)
    for i in range(blocks):
        for j in range(blocks):
            block = w[rows[i] : rows[i + 1], columns[j] : columns[j + 1]]
            assert bool((block != 0).all() if i == j else (block == 0).all())


@pytest.mark.parametrize("size", [7, 16, 100])
def test_split_points_are_even_within_one(size: int) -> None:
    points = split_points(size, 6)
    lengths = [b - a for a, b in pairwise(points)]
    assert (points[0], points[-1], sum(lengths)) == (0, size, size)
    assert max(lengths) - min(lengths) <= 1


def test_low_rank_is_an_integer_matrix_of_that_rank() -> None:
    crystal = make_crystal("low_rank", (60, 40), seed=1, params={"rank": 5})
    left, right, scale = (crystal.tensors[k] for k in ("left", "right", "scale"))
    assert set(left.unique().tolist()) == set(right.unique().tolist()) == {-1, 0, 1}
    integers = crystal.to_dense(torch.float64) / scale.double()
    torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-9)
    assert int(integers.abs().max()) <= 5
    assert int(torch.linalg.matrix_rank(integers)) == 5


def test_low_rank_never_multiplies_to_zero() -> None:
    for seed in range(60):
        crystal = make_crystal("low_rank", (2, 2), seed, {"rank": 2, "density": 0.05})
        assert float(crystal.to_dense().norm()) == pytest.approx(2**0.5, rel=1e-5)


@pytest.mark.parametrize("density", [0.2, 0.5, 0.8])
def test_sparse_patterns(density: float) -> None:
    kept = round(density * 50)
    rows = (dense("sparse_rows", (50, 30), density=density) != 0).sum(dim=1)
    assert sorted(rows.tolist()) == [0] * (50 - kept) + [30] * kept
    columns = (dense("sparse_columns", (30, 50), density=density) != 0).sum(dim=0)
    assert sorted(columns.tolist()) == [0] * (50 - kept) + [30] * kept
    mask = dense("sparse_random", (30, 50), density=density) != 0
    assert mask.sum(dim=1).tolist() == [kept] * 30
    assert 0 < int(mask.sum(dim=0).min()) < int(mask.sum(dim=0).max())


@pytest.mark.parametrize("cell", [1, 3])
def test_checkerboard_pattern(cell: int) -> None:
    i, j = torch.meshgrid(torch.arange(14), torch.arange(9), indexing="ij")
    assert torch.equal(
        dense("checkerboard", (14, 9), cell=cell) != 0, (i // cell + j // cell) % 2 == 0
    )


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_quantised_levels_and_storage(bits: int) -> None:
    crystal = make_crystal("quantised", (31, 33), seed=2, params={"bits": bits})
    levels = crystal.to_dense(torch.float64).unique() / crystal.tensors["scale"].double()
    assert len(levels) <= 2**bits
    assert all(round(float(v)) % 2 == 1 for v in levels)
    assert len(levels) > 2**bits * 0.6
    assert crystal.n_bytes == -(-31 * 33 * bits // 8) + 4


def test_eight_bits_keep_a_gaussian() -> None:
    w = dense("quantised", (200, 200), bits=8) * 200**0.5
    assert float(w.mean()) == pytest.approx(0, abs=0.03)
    assert float((w**4).mean()) == pytest.approx(3, rel=0.1)


def test_square_monarch_is_the_published_factorisation() -> None:
    crystal = make_crystal("monarch", (36, 36), seed=4)
    first, second = (torch.block_diag(*crystal.tensors[k].double()) for k in ("first", "second"))
    permutation = torch.eye(36, dtype=torch.float64)[torch.arange(36).reshape(6, 6).T.reshape(-1)]
    w = permutation @ second @ permutation.T @ first
    torch.testing.assert_close(crystal.to_dense(torch.float64), w, rtol=1e-12, atol=1e-12)
    assert crystal.n_params == 2 * 36 * 6
    assert int(torch.linalg.matrix_rank(w)) == 36


@pytest.mark.parametrize(
    ("size", "target", "expected"), [(12, 4, 4), (12, 5, 6), (13, 3, 1), (128, 11.3, 8)]
)
def test_nearest_divisor(size: int, target: float, expected: int) -> None:
    assert nearest_divisor(size, target) == expected


@pytest.mark.parametrize("shape", [(12, 20), (7, 20), (7, 11)])
def test_kronecker_repeats_one_block(shape: tuple[int, int]) -> None:
    crystal = make_crystal("kronecker", shape, seed=6)
    coarse, fine = (crystal.tensors[k].double() for k in ("coarse", "fine"))
    w = crystal.to_dense(torch.float64)
    b, d = fine.shape
    for i in range(coarse.shape[0]):
        for j in range(coarse.shape[1]):
            torch.testing.assert_close(
                w[i * b : (i + 1) * b, j * d : (j + 1) * d], coarse[i, j] * fine
            )


@pytest.mark.parametrize("shape", [(6, 9), (9, 6), (8, 8)])
def test_toeplitz_and_circulant_diagonals(shape: tuple[int, int]) -> None:
    w = dense("toeplitz", shape)
    assert torch.equal(w[1:, 1:], w[:-1, :-1])
    assert len(w.unique()) == sum(shape) - 1
    c = dense("circulant", shape)
    assert torch.equal(c[1:, 1:], c[:-1, :-1])
    assert len(c.unique()) == max(shape)
    for i in range(shape[0]):
        for j in range(shape[1]):
            same = [
                (p, q)
                for p in range(shape[0])
                for q in range(shape[1])
                if (p - q - i + j) % max(shape) == 0
            ]
            assert all(c[p, q] == c[i, j] for p, q in same)


@pytest.mark.parametrize("shape", [(6, 6), (9, 4), (4, 9)])
def test_permutation_is_a_partial_bijection(shape: tuple[int, int]) -> None:
    w = dense("permutation", shape)
    assert set(w.unique().tolist()) <= {0.0, 1.0}
    assert int(w.sum()) == min(shape)
    assert int(w.sum(dim=0).max()) == int(w.sum(dim=1).max()) == 1


def test_identity_and_zero() -> None:
    assert torch.equal(dense("identity", (3, 5)), torch.eye(3, 5, dtype=torch.float64))
    assert torch.equal(
        dense("identity", (5, 3), gain=2.0), 2 * torch.eye(5, 3, dtype=torch.float64)
    )
    assert not dense("zero", (5, 3)).any()
