"""Bad requests get one clear line; a new family is one class; a crystal can be made from
tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from clso.crystals import FAMILIES, BlockDiagonal, Crystal, LowRank, make_crystal, register_family
from clso.crystals.descriptor import dense_traits
from clso.errors import ConfigError

from .catalogue import CATALOGUE, Entry, random_input


@pytest.mark.parametrize(
    ("family", "shape", "seed", "params", "message"),
    [
        (
            "lowrank",
            (4, 4),
            0,
            {},
            "unknown crystal family; got 'lowrank'. Did you mean 'low_rank'",
        ),
        ("xyzzy", (4, 4), 0, {}, "Known: block_diagonal, "),
        (
            "low_rank",
            (4, 4),
            0,
            {"rnk": 2},
            "no parameter of this name; got 'rnk'. Did you mean 'rank'",
        ),
        ("low_rank", (4, 4), 0, {"rank": 0}, "low_rank.rank is at least 1; got 0"),
        ("low_rank", (4, 4), 0, {"rank": 2.5}, "low_rank.rank is an integer; got 2.5"),
        ("low_rank", (4, 4), 0, {"rank": True}, "low_rank.rank is an integer; got True"),
        ("low_rank", (4, 4), 0, {"density": 0.0}, "low_rank.density is in (0, 1]"),
        ("block_diagonal", (4, 4), 0, {"blocks": 0}, "block_diagonal.blocks is at least 1"),
        ("sparse_rows", (4, 4), 0, {"density": 1.5}, "sparse_rows.density"),
        ("sparse_columns", (4, 4), 0, {"density": -1}, "sparse_columns.density"),
        ("sparse_random", (4, 4), 0, {"density": "half"}, "density is a finite number; got 'half'"),
        ("sparse_random", (4, 4), 0, {"density": float("nan")}, "density is a finite number"),
        ("checkerboard", (4, 4), 0, {"cell": 0}, "checkerboard.cell is at least 1"),
        ("quantised", (4, 4), 0, {"bits": 3}, "quantised.bits is 1, 2, 4 or 8; got 3"),
        ("monarch", (4, 4), 0, {"blocks": -1}, "monarch.blocks"),
        ("kronecker", (4, 4), 0, {"coarse": -2}, "kronecker.coarse"),
        ("identity", (4, 4), 0, {"gain": 0}, "gain is above 0; got 0.0"),
        (
            "identity",
            (4, 0),
            0,
            {},
            "shape is (d_out, d_in), two integers of at least 1; got (4, 0)",
        ),
        ("identity", (4,), 0, {}, "shape is (d_out, d_in)"),
        ("identity", (4.0, 4.0), 0, {}, "shape is (d_out, d_in)"),
        ("identity", 4, 0, {}, "shape is (d_out, d_in)"),
        ("identity", (4, 4), None, {}, "integer seed or from tensors. Give seed=0."),
        ("identity", (4, 4), 0.5, {}, "integer seed or from tensors; got 0.5"),
    ],
)
def test_bad_requests(
    family: str, shape: object, seed: object, params: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        make_crystal(family, shape, seed, params)  # type: ignore[arg-type]
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.fixture
def _restored_registry() -> Iterator[None]:
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


@pytest.mark.usefixtures("_restored_registry")
def test_a_family_is_one_class() -> None:
    @register_family("rank_one")
    class RankOne(Crystal):
        """W = u v^T."""

        def build(self, rng: np.random.Generator) -> dict[str, np.ndarray]:
            return {"u": rng.standard_normal(self.d_out), "v": rng.standard_normal(self.d_in)}

        def apply(self, x: torch.Tensor) -> torch.Tensor:
            return (x @ self.values("v", x))[:, None] * self.values("u", x)

        def dense(self, dtype: torch.dtype) -> torch.Tensor:
            return torch.outer(self.values("u", dtype), self.values("v", dtype))

        def token_flops(self) -> int:
            return 2 * (self.d_out + self.d_in)

    crystal = make_crystal("rank_one", (6, 9), seed=2)
    x = random_input(4, 9)
    torch.testing.assert_close(crystal.matmul(x), x @ crystal.to_dense(torch.float64).T)
    assert (crystal.family, crystal.n_params, crystal.n_bytes, crystal.flops(2)) == (
        "rank_one",
        15,
        120,
        60,
    )
    assert np.isfinite(crystal.descriptor()).all()
    with pytest.raises(ConfigError, match="name is used once; got 'rank_one'"):
        register_family("rank_one")(LowRank)


def test_unregistered_tensors_only_family() -> None:
    class Dense(Crystal):
        family = "dense"

        def apply(self, x: torch.Tensor) -> torch.Tensor:
            return x @ self.values("weight", x).T

        def dense(self, dtype: torch.dtype) -> torch.Tensor:
            return self.values("weight", dtype)

        def token_flops(self) -> int:
            return 2 * self.d_out * self.d_in

    weight = random_input(3, 5, dtype=torch.float32)
    crystal = Dense((3, 5), tensors={"weight": weight})
    assert torch.equal(crystal.to_dense(), weight)
    assert (crystal.n_params, crystal.n_bytes, crystal.seed) == (15, 60, None)
    with pytest.raises(ConfigError, match="made from tensors, not from a seed"):
        Dense((3, 5), seed=0).to_dense()


@pytest.mark.parametrize("entry", [e for e in CATALOGUE if e.family != "zero"], ids=str)
def test_any_family_from_given_tensors(entry: Entry) -> None:
    """Twice the floats, hence another norm than the seeded law: the descriptor has to measure
    it."""
    seeded = entry.make((96, 128), seed=1)
    tensors = {
        k: t * 2 if k in ("values", "scale", "even", "odd") else t
        for k, t in seeded.tensors.items()
    }
    crystal = type(seeded)((96, 128), entry.params, tensors=tensors)
    dense = crystal.to_dense(torch.float64)
    x = random_input(3, 128)
    torch.testing.assert_close(crystal.matmul(x), x @ dense.T)
    measured = dense_traits(dense.numpy(), crystal.rank_bound)
    assert crystal.traits().frobenius == pytest.approx(measured.frobenius, rel=1e-5)


def test_a_block_diagonal_of_a_given_matrix() -> None:
    blocks = [random_input(2, 3, seed=i) for i in range(2)]
    values = torch.cat([b.reshape(-1) for b in blocks])
    crystal = BlockDiagonal((4, 6), {"blocks": 2}, tensors={"values": values})
    assert torch.equal(crystal.to_dense(torch.float64), torch.block_diag(*blocks))
    assert repr(crystal) == "BlockDiagonal(4x6, seed=None, blocks=2)"
