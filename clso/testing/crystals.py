"""What every crystal family keeps to, as a pytest class to subclass."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from clso.crystals import DESCRIPTOR_NAMES, Crystal
from clso.crystals.base import INDEX_DTYPES
from clso.testing.properties import untouched_randomness

__all__ = ["CrystalConformance"]


class CrystalConformance:
    """Subclass as `class TestStripes(CrystalConformance)` and give `family`; pytest runs the rest,
    on every shape and for every entry of the family's `variants`."""

    family: type[Crystal]
    """The class under test."""
    shapes: tuple[tuple[int, int], ...] = ((1, 1), (7, 1), (1, 5), (16, 16), (24, 17), (13, 40))
    """Shapes (d_out, d_in); wide, tall and of primes, for a slot may have any."""
    unit_energy = True
    """Whether ||W||_F^2 = gain^2 d_out, the rule of `clso.crystals.base`; a family with another
    scale says which in its docstring."""
    products_only = True
    """Whether `apply` multiplies by matrix products alone, which PyTorch counts; a family that
    gathers or convolves is not counted."""

    def made(self, seed: int = 0) -> Iterator[Crystal]:
        """A crystal of each shape and variant."""
        for shape in self.shapes:
            for params in self.family.variants:
                yield self.family(shape, params, seed=seed)

    def test_it_has_a_name_and_a_docstring(self) -> None:
        assert isinstance(self.family.family, str)
        assert self.family.family, 'the class has a name: family = "stripes"'
        assert (self.family.__doc__ or "").strip(), "`clso list crystals` shows its first line"
        assert len(self.family.variants) > 0, "a library goes round at least one variant"

    def test_the_product_is_that_of_the_dense_form(self) -> None:
        for crystal in self.made():
            dense = crystal.to_dense(torch.float64)
            assert dense.shape == crystal.shape, crystal
            assert dense.isfinite().all(), crystal
            x = _input(5, crystal.d_in)
            expected = x @ dense.T
            for y in (crystal.apply(x), crystal.matmul(x)):
                torch.testing.assert_close(y, expected, rtol=1e-9, atol=1e-9, msg=repr(crystal))

    def test_alone_and_in_company_are_the_same(self) -> None:
        for crystal in self.made():
            x = _input(6, crystal.d_in)
            batch = crystal.matmul(x.view(2, 3, -1))
            assert batch.shape == (2, 3, crystal.d_out)
            alone = torch.stack([crystal.matmul(row) for row in x]).view_as(batch)
            torch.testing.assert_close(batch, alone, rtol=1e-9, atol=1e-9, msg=repr(crystal))
            assert crystal.matmul(x[:0]).shape == (0, crystal.d_out)

    def test_dtypes_and_devices(self) -> None:
        devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
        for crystal in self.made():
            for device in devices:
                moved = crystal.to(device)
                for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
                    x = _input(3, crystal.d_in).to(device, dtype)
                    before = x.clone()
                    y, dense = moved.matmul(x), moved.to_dense(dtype, device)
                    assert torch.equal(x, before), "the input is changed"
                    assert (y.dtype, y.device) == (x.dtype, x.device), crystal
                    assert (dense.dtype, dense.device) == (x.dtype, x.device), crystal
                    torch.testing.assert_close(
                        y, x @ dense.T, rtol=tolerance, atol=tolerance, msg=repr(crystal)
                    )
                half = moved.matmul(_input(3, crystal.d_in).to(device, torch.bfloat16))
                assert half.dtype == torch.bfloat16

    def test_equal_seeds_give_equal_bits(self) -> None:
        for seed in (0, 12345):
            with untouched_randomness():
                first = [_stored(crystal) for crystal in self.made(seed)]
            assert first == [_stored(crystal) for crystal in self.made(seed)]

    def test_bytes_and_numbers_are_those_stored(self) -> None:
        for crystal in self.made():
            stored = crystal.tensors
            assert all(isinstance(t, Tensor) for t in stored.values())
            n_bytes = sum(t.numel() * t.element_size() for t in stored.values())
            assert crystal.n_bytes == n_bytes, crystal
            assert isinstance(crystal.n_params, int)
            if not any(t.dtype == torch.uint8 for t in stored.values()):  # packed: several a byte
                numbers = [t.numel() for t in stored.values() if t.dtype not in INDEX_DTYPES]
                assert crystal.n_params == sum(numbers), crystal

    def test_flops_are_those_executed(self) -> None:
        for crystal in self.made():
            d_out, d_in = crystal.shape
            assert isinstance(crystal.token_flops(), int)
            assert crystal.token_flops() >= 0
            assert crystal.flops(10) == 10 * crystal.flops(1) <= 10 * 2 * d_out * d_in
            if self.products_only:
                x = _input(10, d_in)
                assert crystal.tensors is not None  # built before anything is counted
                with FlopCounterMode(display=False) as counter:
                    crystal.apply(x)
                assert counter.get_total_flops() == 10 * crystal.token_flops(), crystal

    def test_rank_scale_and_traits_are_those_of_the_dense_form(self) -> None:
        for crystal in self.made():
            dense = crystal.to_dense(torch.float64)
            assert int(torch.linalg.matrix_rank(dense)) <= crystal.rank_bound, crystal
            if self.unit_energy:
                norm = float(dense.norm())
                assert math.isclose(norm, crystal.frobenius_target, rel_tol=1e-4), crystal
            found = crystal.descriptor()
            assert found.shape == (len(DESCRIPTOR_NAMES),)
            assert found.dtype == np.float32
            assert np.isfinite(found).all(), crystal

    def test_the_gain_scales_the_matrix(self) -> None:
        for shape in self.shapes:
            one, two = (self.family(shape, {"gain": g}, seed=0) for g in (1.0, 2.0))
            if self.unit_energy:
                norms = [float(c.to_dense(torch.float64).norm()) for c in (one, two)]
                assert math.isclose(norms[1], 2 * norms[0], rel_tol=1e-4), one

    def test_it_is_its_tensors(self, tmp_path: Path) -> None:
        """Written as safetensors and JSON, no pickle, and read again."""
        for i, crystal in enumerate(self.made()):
            save_file({k: t.contiguous() for k, t in crystal.tensors.items()}, tmp_path / f"{i}")
            params = json.loads(json.dumps(crystal.params))
            again = self.family(crystal.shape, params, tensors=load_file(tmp_path / f"{i}"))
            assert again.seed is None
            assert _stored(again) == _stored(crystal)
            x = _input(3, crystal.d_in)
            assert torch.equal(again.matmul(x), crystal.matmul(x)), crystal
            assert torch.equal(again.to_dense(), crystal.to_dense())
            assert np.isfinite(again.descriptor()).all()
            assert again.n_bytes == crystal.n_bytes

    def test_what_it_does_not_take_is_refused(self) -> None:
        from clso.errors import ConfigError

        for shape, params in (((0, 4), None), ((4, 4), {"no such parameter": 1})):
            with pytest.raises(ConfigError):
                self.family(shape, params, seed=0)


def _input(n: int, d_in: int) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(n, d_in, generator=generator, dtype=torch.float64)


def _stored(crystal: Crystal) -> dict[str, tuple[torch.dtype, tuple[int, ...], bytes]]:
    return {
        name: (t.dtype, tuple(t.shape), t.contiguous().cpu().numpy().tobytes())
        for name, t in crystal.tensors.items()
    }
