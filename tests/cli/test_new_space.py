"""`clso new-space`: the project's files, and names and folders that are refused."""

from __future__ import annotations

import fnmatch
import sys
from pathlib import Path
from typing import Any

import pytest

from clso.cli.scaffold import render

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def test_it_writes_a_project(clso: Any, tmp_path: Path) -> None:
    done = clso("new-space", "bin-packing-2", "--out", "here/it")
    assert done.code == 0
    found = {
        p.relative_to(tmp_path / "here" / "it").as_posix()
        for p in (tmp_path / "here").rglob("*")
        if p.is_file()
    }
    package = "bin_packing_2"
    code = {f"{package}/{name}" for name in ("__init__.py", "py.typed", "space.py")}
    assert found == {"README.md", "pyproject.toml", "tests/test_space.py", *code}
    project = tomllib.loads((tmp_path / "here" / "it" / "pyproject.toml").read_text())
    points = project["project"]["entry-points"]["clso.search_spaces"]
    assert points == {"bin-packing-2": f"{package}.space:BinPacking2"}
    assert "$" not in "".join(render("bin-packing-2").values())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("My-Space", "lower-case letters"),
        ("my_space", "lower-case letters"),
        ("2d", "lower-case letters"),
        ("a--b", "lower-case letters"),
        ("../up", "lower-case letters"),
        ("é", "lower-case letters"),
        ("gpt2", "`clso list spaces`"),
        ("json", "no module is called 'json' yet"),
        ("numpy", "no module is called 'numpy' yet"),
        ("search-spaces", "no module is called 'search_spaces' yet"),
        ("class", "no module is called 'class' yet"),
    ],
)
def test_names_that_are_refused(clso: Any, tmp_path: Path, name: str, message: str) -> None:
    done = clso("new-space", name)
    assert done.code == 2
    assert message in done.error
    assert not list(tmp_path.iterdir())


def test_a_folder_that_exists_is_refused(clso: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    done = clso("new-space", "mine")
    assert done.code == 2
    assert "needs a new folder" in done.error
    assert not list((tmp_path / "mine").iterdir())


def test_the_templates_are_packaged() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    globs = project["tool"]["setuptools"]["package-data"]["clso"]
    templates = [
        p.relative_to(ROOT / "clso") for p in (ROOT / "clso" / "templates").rglob("*.template")
    ]
    assert len(templates) == len(render("x")) == 6
    assert all(
        any(fnmatch.fnmatch(p.as_posix(), g.replace("**/", "")) for g in globs) for p in templates
    )
