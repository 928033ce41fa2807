from __future__ import annotations

import numpy as np
import pytest

from clso.encoding import Encoder
from clso.errors import ConfigError, GenomeError


def test_one_hot_genes_and_standardised_descriptors() -> None:
    descriptor = np.array([[1.0, 7.0], [3.0, 7.0]])
    encoder = Encoder([3, 2], [None, descriptor])
    x = encoder.encode([(2, 0), (0, 1)])
    assert x.dtype == np.float32
    assert x.shape == (2, encoder.n_features)
    # gene 0 one-hot, gene 1 one-hot, then its descriptor: mean 2 and deviation 1; the constant column is 0
    np.testing.assert_array_equal(x, [[0, 0, 1, 1, 0, -1, 0], [1, 0, 0, 0, 1, 1, 0]])


def test_without_descriptors_and_without_genomes() -> None:
    encoder = Encoder([2, 2])
    np.testing.assert_array_equal(encoder.encode([(1, 0)]), [[0, 1, 1, 0]])
    assert encoder.encode([]).shape == (0, 4)


@pytest.mark.parametrize("genomes", [[(0, 2)], [(-1, 0)], [(0,)], [(0, 1), (0,)], [(0, 1, 1)]])
def test_genomes_of_another_space_are_refused(genomes: list[tuple[int, ...]]) -> None:
    with pytest.raises(GenomeError):
        Encoder([2, 2]).encode(genomes)


@pytest.mark.parametrize(
    ("n_choices", "descriptors"),
    [
        ([], None),
        ([2, 0], None),
        ([2, 2], [None]),
        ([2], [np.zeros((3, 1))]),
        ([2], [np.zeros(2)]),
        ([2], [np.array([[0.0], [np.nan]])]),
    ],
)
def test_bad_spaces_are_refused(n_choices: list[int], descriptors: list[np.ndarray | None] | None) -> None:
    with pytest.raises(ConfigError):
        Encoder(n_choices, descriptors)


def test_a_gene_of_very_many_choices_has_a_column_for_a_range_of_them() -> None:
    encoder = Encoder([50_000, 3])
    assert encoder.n_features == 4096 + 3
    x = encoder.encode([(0, 0), (12, 0), (25_000, 1), (49_999, 2)])
    assert x.argmax(axis=1).tolist() == [0, 0, 2048, 4095]
    np.testing.assert_array_equal(x.sum(axis=1), 2)
