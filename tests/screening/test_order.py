"""The order of a gene's alleles is used where the measurements bear it out, and there alone."""

from __future__ import annotations

import itertools
import json
import random
from typing import Any

import numpy as np
import pytest

from clso import Optimizer
from clso.screening.encoding import Encoder
from clso.screening.order import CODES, choose_codes, code

SIZES = [12, 12, 5, 3]
SHUFFLED = random.Random(0).sample(range(12), 12)


def value(genome: Any) -> float:
    """Gene 0 counts by its order, gene 1 by one that nobody knows."""
    return (genome[0] - 7) ** 2 / 20 + (SHUFFLED[genome[1]] - 3) ** 2 / 20 + (genome[2] != 3)


@pytest.mark.parametrize("number", range(CODES))
@pytest.mark.parametrize("n", [3, 8, 50])
def test_codes_are_as_far_from_each_other_as_one_hot_ones(n: int, number: int) -> None:
    rows = code(n, number)
    squared = ((rows[:, None] - rows) ** 2).sum(axis=-1)
    assert squared.mean() == pytest.approx(2 * (1 - 1 / n))
    if number:  # nearer alleles are nearer
        assert (np.diff(squared[0]) > -1e-9).all()
        assert squared[0, 1] < squared[0, -1]


def test_each_gene_gets_the_code_that_the_measurements_make_likely() -> None:
    rng = random.Random(1)
    genomes = [tuple(rng.randrange(n) for n in SIZES) for _ in range(96)]
    found = choose_codes(np.array(genomes), [value(g) for g in genomes], SIZES, [0, 1], [0] * 4)
    assert found[0] > 0
    assert found[1:] == [0, 0, 0]


def test_a_code_in_force_is_given_up_if_it_misleads() -> None:
    rng = random.Random(2)
    genomes = [tuple(rng.randrange(n) for n in SIZES) for _ in range(96)]
    codes = [1, 1, 0, 0]
    found = choose_codes(np.array(genomes), [value(g) for g in genomes], SIZES, [0, 1], codes)
    assert found[0] > 0
    assert found[1] == 0


def test_features_follow_the_codes_and_what_is_off_has_none() -> None:
    def off(genomes: Any) -> Any:
        return np.stack([genomes[:, 1] == 0, np.zeros(len(genomes), dtype=bool)], axis=1)

    encoder = Encoder([4, 2], None, off, (0, 1))
    genomes = list(itertools.product(range(4), range(2)))
    plain, coded = encoder.encode(genomes), encoder.encode(genomes, [1, 0])
    for genome, one_hot, row in zip(genomes, plain, coded, strict=True):
        is_on = genome[1] == 1
        assert one_hot[:4].tolist() == [float(is_on and a == genome[0]) for a in range(4)]
        assert row[:4] == pytest.approx(code(4, 1)[genome[0]] * is_on, abs=1e-6)
        assert (one_hot[4:] == row[4:]).all()


def test_codes_survive_a_checkpoint() -> None:
    choices = {"a": range(12), "b": range(12), "c": list("vwxyz"), "d": list("xyz")}
    optimizers = [Optimizer(choices, seed=4) for _ in range(2)]

    def search(optimizer: Optimizer, n: int) -> list[Any]:
        asked = []
        for _ in range(n):
            (genome,) = optimizer.ask()
            optimizer.tell(genome, value(genome))
            asked.append(genome)
        return asked

    search(optimizers[0], 40)
    state = json.loads(json.dumps(optimizers[0].state_dict()))
    assert state["screener"]["codes"]
    optimizers[1].load_state_dict(state)
    assert search(optimizers[1], 40) == search(optimizers[0], 40)
