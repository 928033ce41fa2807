from __future__ import annotations

import numpy as np
import pytest

from clso.errors import ConfigError, GenomeError
from clso.screening.encoding import Encoder


def test_one_hot_genes_and_standardised_descriptors() -> None:
    descriptor = np.array([[1.0, 7.0], [5.0, 7.0]])
    encoder = Encoder([3, 2], [None, descriptor])
    x = encoder.encode([(2, 0), (0, 1)])
    assert x.dtype == np.float32
    assert x.shape == (2, encoder.n_features)
    # gene 0 one-hot, gene 1 one-hot, then its descriptor: mean 3 and deviation 2; the constant
    # column is 0
    np.testing.assert_array_equal(x, [[0, 0, 1, 1, 0, -1, 0], [1, 0, 0, 0, 1, 1, 0]])


def test_without_descriptors_and_without_genomes() -> None:
    encoder = Encoder([2, 2])
    np.testing.assert_array_equal(encoder.encode([(1, 0)]), [[0, 1, 1, 0]])
    assert encoder.encode([]).shape == (0, 4)


def test_rounding_noise_is_no_descriptor_and_a_thousandth_is() -> None:
    descriptor = np.array([[1e6, 1e3], [1e6 + 1e-7, 1e3 + 1.0]])
    x = Encoder([2], [descriptor]).encode([(0,), (1,)])
    np.testing.assert_allclose(x[:, 2:], [[0, -1], [0, 1]], atol=1e-6)


@pytest.mark.parametrize("n", [1, 256, 257])
def test_the_first_and_the_last_of_many_choices(n: int) -> None:
    encoder = Encoder([n, 2])
    x = encoder.encode([(0, 0), (n - 1, 1)])
    assert x.shape == (2, n + 2)
    assert [row.nonzero()[0].tolist() for row in x] == [[0, n], [n - 1, n + 1]]
    with pytest.raises(GenomeError):
        encoder.encode([(n, 0)])


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
def test_bad_spaces_are_refused(
    n_choices: list[int], descriptors: list[np.ndarray | None] | None
) -> None:
    with pytest.raises(ConfigError):
        Encoder(n_choices, descriptors)


def test_a_gene_of_very_many_choices_has_a_column_for_a_range_of_them() -> None:
    encoder = Encoder([50_000, 3])
    assert encoder.n_features == 4096 + 3
    x = encoder.encode([(0, 0), (12, 0), (25_000, 1), (49_999, 2)])
    assert x.argmax(axis=1).tolist() == [0, 0, 2048, 4095]
    np.testing.assert_array_equal(x.sum(axis=1), 2)
