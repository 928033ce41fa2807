"""Descriptors: fixed length, finite, and close to what the dense form measures."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from clso.crystals import DESCRIPTOR_NAMES
from clso.crystals.descriptor import dense_traits, spectral_norm

from .catalogue import CATALOGUE, SHAPES, Entry

every_crystal = pytest.mark.parametrize("entry", CATALOGUE, ids=str)


@every_crystal
def test_finite_and_of_fixed_length(entry: Entry) -> None:
    for shape in SHAPES:
        vector = entry.make(shape).descriptor()
        assert vector.dtype == np.float32
        assert vector.shape == (len(DESCRIPTOR_NAMES),)
        assert np.isfinite(vector).all()
        for name in ("rank_ratio", "density", "diagonal_mass", "flops_ratio"):
            assert 0 <= vector[DESCRIPTOR_NAMES.index(name)] <= 1 + 1e-6


@every_crystal
@pytest.mark.parametrize("shape", [(128, 128), (200, 96), (60, 240)], ids=str)
def test_closed_forms_agree_with_the_dense_form(entry: Entry, shape: tuple[int, int]) -> None:
    crystal = entry.make(shape, seed=9)
    traits = crystal.traits()
    dense = crystal.to_dense(torch.float64).numpy()
    measured = dense_traits(dense, traits.rank)
    assert traits.rank == np.linalg.matrix_rank(dense)
    assert traits.density == pytest.approx(measured.density, abs=0.05)
    assert traits.frobenius == pytest.approx(measured.frobenius, rel=1e-5)
    assert traits.spectral == pytest.approx(float(np.linalg.norm(dense, 2)), rel=0.15)
    assert traits.mean_abs == pytest.approx(measured.mean_abs, rel=0.06)


@every_crystal
def test_diagonal_mass_is_right_on_average(entry: Entry) -> None:
    crystals = [entry.make((60, 100), seed) for seed in range(16)]
    dense = [c.to_dense(torch.float64).numpy() for c in crystals]
    measured = np.mean(
        [dense_traits(w, c.rank_bound).diagonal_mass for w, c in zip(dense, crystals, strict=True)]
    )
    expected = np.mean([c.traits().diagonal_mass for c in crystals])
    # Four standard errors of a mean of n squared Gaussians.
    n_entries = sum(np.count_nonzero(np.diagonal(w)) for w in dense)
    assert expected == pytest.approx(measured, rel=4 * (2 / max(n_entries, 1)) ** 0.5, abs=1e-9)


def test_spectral_norm_estimate() -> None:
    matrix = np.random.default_rng(0).standard_normal((90, 50)).astype(np.float32)
    exact = float(np.linalg.norm(matrix, 2))
    assert 0.97 * exact < spectral_norm(matrix) <= exact * (1 + 1e-6)
    assert spectral_norm(np.zeros((3, 4), dtype=np.float32)) == 0.0
