"""Every crystal equals its dense form, at any shape and dtype, and has the scale that it
promises."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clso.crystals import FAMILIES, Toeplitz, make_crystal

from .catalogue import CATALOGUE, SHAPES, CutEntry, Entry, random_input

every_crystal = pytest.mark.parametrize("entry", CATALOGUE, ids=str)
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda s: f"{s[0]}x{s[1]}")


def test_the_catalogue_holds_every_family() -> None:
    assert {entry.family for entry in CATALOGUE} == {
        name
        for name, cls in FAMILIES.items()
        if cls.__module__.startswith("clso.crystals.")
        and not cls.__module__.startswith("clso.grown")
    }


@every_crystal
@every_shape
def test_matmul_is_the_dense_product(entry: Entry, shape: tuple[int, int]) -> None:
    crystal = entry.make(shape)
    dense = crystal.to_dense(torch.float64)
    assert dense.shape == shape
    x = random_input(5, shape[1])
    torch.testing.assert_close(crystal.matmul(x), x @ dense.T, rtol=1e-10, atol=1e-10)
    # The structured product itself, also where `matmul` prefers the dense one.
    torch.testing.assert_close(crystal.apply(x), x @ dense.T, rtol=1e-10, atol=1e-10)


@every_crystal
def test_leading_dimensions(entry: Entry) -> None:
    crystal = entry.make((24, 64))
    x = random_input(2, 3, 4, 64)
    expected = crystal.matmul(x.reshape(-1, 64)).reshape(2, 3, 4, 24)
    torch.testing.assert_close(crystal.matmul(x), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(
        crystal.matmul(x[0, 0, 0]), expected[0, 0, 0], rtol=1e-12, atol=1e-12
    )
    strided = x.transpose(0, 2)
    torch.testing.assert_close(
        crystal.matmul(strided), expected.transpose(0, 2), rtol=1e-12, atol=1e-12
    )
    assert crystal.matmul(x[:0]).shape == (0, 3, 4, 24)


@every_crystal
@pytest.mark.parametrize(
    ("dtype", "tolerance"),
    [
        (torch.float64, 1e-12),
        (torch.float32, 1e-5),
        (torch.bfloat16, 2**-8),
        (torch.float16, 2**-11),
    ],
    ids=str,
)
def test_dtypes(entry: Entry, dtype: torch.dtype, tolerance: float) -> None:
    crystal = entry.make((96, 128))
    x = random_input(8, 128, dtype=dtype)
    y = crystal.matmul(x)
    assert y.dtype == dtype
    assert crystal.to_dense(dtype).dtype == dtype
    # One rounding of the result; float32 sums behind it err by the scale of the row, not of the
    # entry.
    expected = x.double() @ crystal.to_dense(torch.float64).T
    scale = float(expected.abs().max()) + 1e-30
    torch.testing.assert_close(y.double(), expected, rtol=tolerance, atol=1e-5 * scale)


@settings(max_examples=150)
@given(
    entry=st.sampled_from(CATALOGUE),
    d_out=st.integers(1, 40),
    d_in=st.integers(1, 40),
    n_rows=st.integers(0, 5),
    seed=st.integers(0, 2**40),
)
def test_any_shape(entry: Entry, d_out: int, d_in: int, n_rows: int, seed: int) -> None:
    crystal = entry.make((d_out, d_in), seed)
    dense = crystal.to_dense(torch.float64)
    x = random_input(n_rows, d_in, seed=seed)
    torch.testing.assert_close(crystal.matmul(x), x @ dense.T, rtol=1e-10, atol=1e-10)
    assert crystal.flops(3) <= 3 * 2 * d_out * d_in
    rank = int(torch.linalg.matrix_rank(dense)) if dense.any() else 0
    assert rank <= crystal.rank_bound
    if entry.unit_energy:
        assert float(dense.norm()) == pytest.approx(crystal.gain * math.sqrt(d_out), rel=1e-5)


@pytest.mark.parametrize("family", ["toeplitz", "circulant"])
@pytest.mark.parametrize("shape", [(1024, 1024), (1500, 900)])
def test_fft_route_is_accurate_in_float32(family: str, shape: tuple[int, int]) -> None:
    crystal = make_crystal(family, shape, seed=3)
    assert isinstance(crystal, Toeplitz)
    assert crystal.uses_fft
    assert not make_crystal(family, (128, 128)).flops(1) < 2 * 128 * 128
    x = random_input(4, shape[1], dtype=torch.float32)
    error = crystal.matmul(x).double() - x.double() @ crystal.to_dense(torch.float64).T
    assert float(error.abs().max()) < 1e-4


@pytest.mark.parametrize("entry", [e for e in CATALOGUE if not isinstance(e, CutEntry)], ids=str)
def test_scale_preserves_the_mean_square(entry: Entry) -> None:
    crystal = entry.make((96, 128), seed=5)
    energy = float(crystal.to_dense(torch.float64).square().sum())
    if entry.unit_energy:
        assert energy == pytest.approx(crystal.gain**2 * 96, rel=1e-5)
        x = random_input(4000, 128)
        mean_square = float(crystal.matmul(x).square().mean())
        assert mean_square == pytest.approx(crystal.gain**2, rel=0.1)
    else:
        assert energy == pytest.approx(crystal.gain**2 * crystal.rank_bound)


@pytest.mark.parametrize(
    "x", [torch.zeros(3, 5), torch.zeros(4, dtype=torch.long), torch.tensor(1.0)]
)
def test_matmul_states_what_it_needs(x: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"matmul needs floating x \(\.\.\., 4\)"):
        make_crystal("identity", (4, 4)).matmul(x)


def test_to_moves_a_copy() -> None:
    crystal = make_crystal("low_rank", (6, 5))
    moved = crystal.to("meta")
    assert {t.device.type for t in moved.tensors.values()} == {"meta"}
    assert {t.device.type for t in crystal.tensors.values()} == {"cpu"}
    assert (moved.shape, moved.seed, moved.params) == (crystal.shape, crystal.seed, crystal.params)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda() -> None:
    for entry in CATALOGUE:
        on_cpu = entry.make((96, 128))
        crystal = on_cpu.to("cuda")
        x = random_input(8, 128, dtype=torch.float32)
        y = crystal.matmul(x.to("cuda"))
        assert y.device.type == "cuda"
        torch.testing.assert_close(crystal.to_dense(device="cuda").cpu(), on_cpu.to_dense())
        torch.testing.assert_close(y.cpu(), on_cpu.matmul(x), rtol=1e-3, atol=1e-3, msg=str(entry))
