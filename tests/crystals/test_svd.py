"""Crystals cut from a matrix: the best of their rank, and nothing but that matrix at full rank."""

from __future__ import annotations

import pytest
import torch

from clso.crystals import Svd, cut, cuts, make_crystal
from clso.errors import ConfigError

from .catalogue import random_input


@pytest.mark.parametrize("shape", [(24, 40), (40, 24), (9, 9)])
def test_the_error_is_that_of_eckart_and_young(shape: tuple[int, int]) -> None:
    matrix = random_input(*shape)
    singular = torch.linalg.svdvals(matrix)
    for rank in (1, 5, 8):
        error = matrix - cut(matrix, rank).to_dense(torch.float64)
        assert error.norm().item() == pytest.approx(
            singular[rank:].square().sum().sqrt().item(), rel=1e-5
        )
        assert torch.linalg.matrix_norm(error, 2).item() == pytest.approx(
            singular[rank].item(), rel=1e-5
        )
        # the best fit in another column space is worse
        other = random_input(shape[0], rank, seed=1)
        projected = other @ torch.linalg.lstsq(other, matrix).solution
        assert error.norm() < (matrix - projected).norm()


def test_full_rank_is_the_matrix() -> None:
    matrix = random_input(24, 40, dtype=torch.float32)
    torch.testing.assert_close(cut(matrix, 24).to_dense(), matrix, rtol=1e-6, atol=1e-6)
    low = cut(random_input(24, 3) @ random_input(3, 40), 3)
    torch.testing.assert_close(
        low.to_dense(), (random_input(24, 3) @ random_input(3, 40)).float(), rtol=1e-5, atol=1e-5
    )


def test_cuts_share_a_decomposition_and_no_memory() -> None:
    matrix = random_input(24, 40, dtype=torch.float32)
    for rank, crystal in zip((2, 7), cuts(matrix, (2, 7)), strict=True):
        assert torch.equal(crystal.to_dense(), cut(matrix, rank).to_dense())
        assert (crystal.rank_bound, crystal.n_params, crystal.flops(1)) == (
            rank,
            rank * 64,
            2 * rank * 64,
        )
        assert crystal.n_bytes == 4 * rank * 64
        v = crystal.tensors["v"]
        torch.testing.assert_close(v @ v.T, torch.eye(rank), rtol=0, atol=1e-6)


def test_the_zero_matrix_can_be_cut() -> None:
    crystal = cut(torch.zeros(3, 4), 2)
    assert not crystal.to_dense().any()
    assert torch.isfinite(torch.from_numpy(crystal.descriptor())).all()


@pytest.mark.parametrize(
    ("matrix", "rank", "message"),
    [
        (torch.ones(4, 6), 0, "a cut of a 4 x 6 matrix has a rank of 1 to 4; got 0"),
        (torch.ones(4, 6), 5, "a cut of a 4 x 6 matrix has a rank of 1 to 4; got 5"),
        (torch.ones(4), 1, "a crystal's shape is (d_out, d_in)"),
        (torch.ones(0, 4), 1, "a crystal's shape is (d_out, d_in)"),
        (
            torch.tensor([[1.0, torch.nan]]),
            1,
            "1 entries are NaN or infinite: a matrix to cut is finite",
        ),
    ],
)
def test_what_cannot_be_cut(matrix: torch.Tensor, rank: int, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        cut(matrix, rank)
    assert message in str(caught.value)


def test_there_is_none_of_a_seed() -> None:
    with pytest.raises(
        ConfigError,
        match=r"made from tensors, not from a seed; got 0. Give Svd\(shape, tensors=...\)",
    ):
        make_crystal("svd", (4, 4), 0).to_dense()
    assert isinstance(cut(torch.eye(4), 2), Svd)
