"""Families that plug in: found by file or entry point, used by a run, refused in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import ClassVar

import pytest

from clso import plugins
from clso.config import RunConfig
from clso.crystals import FAMILIES, Crystal, CrystalLibrary, LowRank
from clso.crystals.library import recipes_of
from clso.errors import ClsoError, ConfigError
from clso.run import evolve
from clso.testing import CrystalConformance

SOURCE = """
import torch
from clso.crystals import LowRank

class Thin(LowRank):
    "A low-rank crystal of rank 1 or 2."
    family = "thin"
    variants = ({"rank": 1}, {"rank": 2})

class Nameless(LowRank):
    family = ""

class Odd(LowRank):
    family = "odd"
    variants = ({"colour": 3},)

class Taken(LowRank):
    family = "monarch"

from clso.crystals import Crystal
class Abstract(Crystal):
    family = "abstract"

number = 3
"""


@pytest.fixture(autouse=True)
def _restored_registry() -> Iterator[None]:
    before = dict(FAMILIES)
    yield
    FAMILIES.clear()
    FAMILIES.update(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (path := tmp_path / "mine.py").write_text(SOURCE)
    return path


def test_a_library_goes_round_the_families_and_their_variants(file: Path) -> None:
    assert recipes_of("") is None
    recipes = recipes_of(f"{file}:Thin, zero")
    assert recipes == [("thin", {"rank": 1}), ("zero", {}), ("thin", {"rank": 2}), ("zero", {})]
    library = CrystalLibrary(5, recipes=recipes)
    families = [library.crystal((6, 8), i).family for i in range(5)]
    assert families == ["thin", "zero", "thin", "zero", "thin"]


def test_an_entry_point_is_loaded_when_it_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(file.parent)
    point = EntryPoint("my-thin", "mine:Thin", "clso.crystals")
    found = plugins._installed

    def with_ours(group: str) -> tuple[EntryPoint, ...]:
        return (point,) if group == "clso.crystals" else found(group)

    monkeypatch.setattr(plugins, "_installed", with_ours)
    assert "thin" not in FAMILIES
    assert recipes_of("my-thin") == [("thin", {"rank": 1}), ("thin", {"rank": 2})]
    with pytest.raises(ConfigError, match="Did you mean 'my-thin'"):
        recipes_of("my-thim")


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("low_rnk", "unknown crystal family; got 'low_rnk'. Did you mean 'low_rank'"),
        ("zero,", "unknown crystal family; got ''"),
        ("zero,zero", "names a family once; got 'zero'"),
        ("FILE:Nameless", "a crystal family has a name"),
        ("FILE:Odd", "no parameter of this name; got 'colour'"),
        ("FILE:Taken", "name is used once; got 'monarch'"),
        ("FILE:Abstract", "a crystal family gives apply, dense, token_flops"),
        ("FILE:number", "a subclass of clso.crystals.Crystal"),
        ("FILE:Tin", "Did you mean 'Thin'"),
        ("/nowhere/mine.py:Thin", "names a file"),
    ],
    ids=str,
)
def test_errors_are_one_line(file: Path, names: str, message: str) -> None:
    with pytest.raises(ClsoError) as caught:
        recipes_of(names.replace("FILE", str(file)))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_a_run_uses_it_and_says_where_it_came_from(
    file: Path, tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    crystals = {"crystals": "mine.py:Thin,identity,zero"}
    config = replace(tiny, gens=1, pop=4, options={**tiny.options, **crystals})
    assert config.options["crystals"] == f"{file}:Thin,identity,zero"
    evolve(config, tmp_path / "run")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    found = manifest["plugins"]["crystals:thin"]
    assert (found["distribution"], len(found["sha256"])) == (str(file), 64)
    assert set(manifest["plugins"]) == {"space", "surrogate", "crystals:thin"}


def test_a_grown_library_picks_its_own(tiny: RunConfig, tmp_path: Path) -> None:
    options = {**tiny.options, "library": "grown", "crystals": "zero"}
    with pytest.raises(ConfigError, match="--library random"):
        evolve(replace(tiny, options=options), tmp_path / "run")
    assert not (tmp_path / "run").exists()


class TestLowRankByTheKit(CrystalConformance):
    family = LowRank


class _Broken(LowRank):
    """Says that it costs nothing."""

    family: ClassVar[str] = "broken"

    def token_flops(self) -> int:
        return 0


class _Drifting(LowRank):
    """Is another one each time that it is asked."""

    family: ClassVar[str] = "drifting"
    _n = 0

    def build(self, rng):  # type: ignore[no-untyped-def]
        type(self)._n += 1
        return {k: v + type(self)._n for k, v in super().build(rng).items()}


@pytest.mark.parametrize(
    ("family", "test"),
    [
        (_Broken, "test_flops_are_those_executed"),
        (_Drifting, "test_equal_seeds_give_equal_bits"),
        (_Drifting, "test_rank_scale_and_traits_are_those_of_the_dense_form"),
    ],
    ids=["flops", "bits", "scale"],
)
def test_the_kit_finds_what_is_broken(family: type[Crystal], test: str) -> None:
    kit = CrystalConformance()
    kit.family = family
    with pytest.raises(AssertionError):
        getattr(kit, test)()
