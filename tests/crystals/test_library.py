"""The library: a fixed rota, the same crystals anywhere, bounded caches."""

from __future__ import annotations

import pickle
import time
from collections import Counter

import numpy as np
import pytest
import torch

from clso.crystals import DESCRIPTOR_NAMES, FAMILIES, Crystal, CrystalLibrary
from clso.crystals.library import default_recipe
from clso.errors import ConfigError


def random_families() -> set[str]:
    """Those that can be drawn from a seed."""
    return {name for name, cls in FAMILIES.items() if cls.build is not Crystal.build}


def test_the_rota_is_balanced_and_complete() -> None:
    families = Counter(default_recipe(i)[0] for i in range(64))
    assert set(families) == random_families()
    assert {default_recipe(i)[0] for i in range(14)} == random_families()
    assert families.pop("identity") == families.pop("zero") == 1
    assert max(families.values()) - min(families.values()) <= 1
    recipes = [default_recipe(i) for i in range(64)]
    assert {p["rank"] for f, p in recipes if f == "low_rank"} == {2, 4, 8, 16, 32, 64}
    assert {p["bits"] for f, p in recipes if f == "quantised"} == {1, 2, 4, 8}


def test_no_two_crystals_of_a_shape_are_equal() -> None:
    bank = CrystalLibrary(size=80).bank((16, 16))
    assert len({matrix.numpy().tobytes() for matrix in bank}) == 80


@pytest.mark.parametrize("size", [1, 5, 64, 100])
def test_size_does_not_change_a_crystal(size: int) -> None:
    bank = CrystalLibrary(size, seed=3).bank((6, 10))
    assert bank.shape == (size, 6, 10)
    assert torch.equal(bank, CrystalLibrary(100, seed=3).bank((6, 10))[:size])
    assert not torch.equal(bank[0], CrystalLibrary(size, seed=4).bank((6, 10))[0])


def test_bank_dense_and_crystal_agree() -> None:
    library, other = CrystalLibrary(size=20, seed=1), CrystalLibrary(size=20, seed=1)
    one_by_one = torch.stack([other.dense((5, 7), i) for i in range(20)])
    assert torch.equal(library.bank((5, 7)), one_by_one)
    assert torch.equal(library.crystal((5, 7), 4).to_dense(), one_by_one[4])
    assert library.bank((5, 7)) is library.bank((5, 7))
    assert library.dense((5, 7), 3).data_ptr() == library.bank((5, 7))[3].data_ptr()
    half = library.bank((5, 7), dtype=torch.bfloat16)
    assert torch.equal(half, library.bank((5, 7)).bfloat16())


def test_a_crystal_lives_as_long_as_it_is_held() -> None:
    library = CrystalLibrary(size=4)
    crystal = library.crystal((8, 8), 1)
    assert library.crystal((8, 8), np.int64(1)) is crystal  # type: ignore[arg-type]


def test_dense_cache_is_bounded_and_drops_the_oldest() -> None:
    library = CrystalLibrary(size=10, cache_bytes=3 * 8 * 8 * 4)
    first = library.dense((8, 8), 0)
    library.dense((8, 8), 1)
    library.dense((8, 8), 2)
    assert library.dense((8, 8), 0) is first
    library.dense((8, 8), 3)  # drops 1, the least recently used
    assert library.cached_bytes == 3 * 8 * 8 * 4
    assert library.dense((8, 8), 0) is first
    library.dense((8, 8), 1)
    assert library.cached_bytes <= library.cache_bytes
    too_large = library.dense((16, 16), 0)
    assert library.dense((16, 16), 0) is not too_large
    assert library.dense((8, 8), 0) is first
    library.clear()
    assert library.cached_bytes == 0


def test_descriptors() -> None:
    library = CrystalLibrary(size=30)
    table = library.descriptors((12, 8))
    assert table.shape == (30, len(DESCRIPTOR_NAMES))
    assert table.dtype == np.float32
    assert np.array_equal(table[5], library.crystal((12, 8), 5).descriptor())
    table[:] = 0
    assert library.descriptors((12, 8)).any()


def test_descriptors_of_a_huge_shape_build_nothing_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    for cls in {FAMILIES[name] for name in random_families()}:
        monkeypatch.setattr(cls, "dense", None)
    start_s = time.process_time()  # of this process: others may load the machine
    table = CrystalLibrary(size=14).descriptors((50257, 128))
    assert np.isfinite(table).all()
    assert time.process_time() - start_s < 10


def test_pickling_sends_no_caches() -> None:
    library = CrystalLibrary(size=32, seed=9)
    bank = library.bank((64, 64))
    sent = pickle.dumps(library)
    assert len(sent) < 1000
    assert torch.equal(pickle.loads(sent).bank((64, 64)), bank)


def test_own_recipes_go_round() -> None:
    library = CrystalLibrary(size=5, recipes=[("identity", {}), ("low_rank", {"rank": 1})])
    assert [library.recipe(i)[0] for i in range(5)] == ["identity", "low_rank"] * 2 + ["identity"]
    assert pickle.loads(pickle.dumps(library)).recipe(1) == ("low_rank", {"rank": 1})
    assert len(library) == 5


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: CrystalLibrary(0), "a library holds 1 to 2^20 crystals; got 0"),
        (lambda: CrystalLibrary(4, seed=-1), "seed is at least 0; got -1"),
        (lambda: CrystalLibrary(4, cache_bytes=-1), "cache has at least 0 bytes"),
        (lambda: CrystalLibrary(4, recipes=[]), "at least one recipe"),
        (lambda: CrystalLibrary(4, recipes=[("monark", {})]), "Did you mean 'monarch'"),
        (lambda: CrystalLibrary(4).crystal((4, 4), 4), "index is in [0, 4); got 4"),
        (lambda: CrystalLibrary(4).dense((4, 4), -1), "index is in [0, 4); got -1"),
        (lambda: CrystalLibrary(4).bank((0, 4)), "shape is (d_out, d_in)"),
    ],
)
def test_bad_requests(make: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)
