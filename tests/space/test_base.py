from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from toys import Toy

from clso.errors import GenomeError
from clso.space import Gene

SPACE = Toy([3, 1, 5])


@pytest.mark.parametrize(
    "genome",
    [
        (0, 0),
        (0, 0, 0, 0),
        (3, 0, 0),
        (-1, 0, 0),
        (0, 1, 0),
        (0, 0, 1.5),
        (),
        (float("nan"), 0, 0),
        (float("inf"), 0, 0),
        ("0", 0, 0),
    ],
)
def test_foreign_genomes_are_refused(genome: Any) -> None:
    with pytest.raises(GenomeError):
        SPACE.validate(genome)


def test_a_valid_genome_becomes_plain_integers() -> None:
    found = SPACE.validate(np.array([2, 0, 4]))  # type: ignore[arg-type]
    assert found == (2, 0, 4)
    assert all(type(a) is int for a in found)
    assert SPACE.describe(found) == {"g0": "2", "g1": "0", "g2": "4"}


def test_samples_are_uniform_and_come_from_the_given_stream() -> None:
    drawn = [SPACE.sample(random.Random(i)) for i in range(600)]
    assert all(SPACE.validate(g) == g for g in drawn)
    for gene, n in ((0, 3), (2, 5)):
        counts = np.bincount([g[gene] for g in drawn], minlength=n)
        assert counts.min() > 0.7 * 600 / n
    random.seed(0)
    state = random.getstate()
    assert SPACE.sample(random.Random(5)) == SPACE.sample(random.Random(5))
    assert random.getstate() == state


def test_the_defaults_of_the_contract() -> None:
    rng = random.Random(0)
    assert SPACE.constraints((0, 0, 0)) == ()
    assert SPACE.repair((1, 0, 2), rng) == (1, 0, 2)
    assert SPACE.seeds() == []
    assert SPACE.descriptors() is None
    assert len(Gene("x", ("a", "b"))) == 2


def test_samples_are_those_of_randrange() -> None:
    space = SPACE
    drawn = [space.sample(random.Random(i)) for i in range(50)]
    assert drawn == [
        tuple(map(random.Random(i).randrange, map(len, space.genes))) for i in range(50)
    ]
