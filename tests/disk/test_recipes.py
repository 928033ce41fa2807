from __future__ import annotations

from pathlib import Path

import pytest

from clso.config import RunConfig
from clso.disk.recipes import available_recipes, find_recipe
from clso.errors import ConfigError


def test_a_recipe_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = find_recipe("ref-2x128")
    assert found == available_recipes()["ref-2x128"]
    assert RunConfig.from_toml(found).tokenizer == "gpt2"
    (tmp_path / "ref-2x128").mkdir()  # a run folder of that name does not hide it
    assert find_recipe("ref-2x128") == found
    (tmp_path / "own").write_text("gens = 3\n")
    assert RunConfig.from_toml(find_recipe("own")).gens == 3


@pytest.mark.parametrize("path", ["ref-2x128.toml", "runs/ref-2x128", "/nowhere/a", ""])
def test_a_path_stays_what_it_is(path: str) -> None:
    assert find_recipe(path) == find_recipe(Path(path)) == Path(path)


def test_an_unknown_name_is_told_the_nearest() -> None:
    message = r"unknown recipe; got 'ref-2x182'\. Did you mean 'ref-2x128'\? Known: .*ref-2x128"
    with pytest.raises(ConfigError, match=message):
        find_recipe("ref-2x182")


def test_every_recipe_is_there() -> None:
    found = available_recipes()
    assert {"ref-2x128", "ref-2x128-pointer", "ray/cluster.yaml", "ray/rayjob.yaml"} <= set(found)
    assert all(path.is_file() for path in found.values())
