"""The arrow points one way: `clso` never imports what plugs into it. And the project's own lists are right."""

from __future__ import annotations

import ast
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from clso.config import RunConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).parents[1]
PLUGINS = ("search_spaces", "surrogates", "baselines")
# Groups whose own members are part of the framework: what CLSO is about, and what it is compared with.
HOMES = {"clso.models": {"clso", "baselines"}, "clso.tasks": {"clso"}}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def imported(path: Path) -> set[str]:
    """Top-level names of the modules that a file imports, also inside functions and by `import_module`."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return names


def test_clso_imports_no_plugin_package() -> None:
    files = sorted((ROOT / "clso").rglob("*.py"))
    assert len(files) > 40
    assert {str(f.relative_to(ROOT)): imported(f) & set(PLUGINS) for f in files if imported(f) & set(PLUGINS)} == {}


def test_the_walk_sees_imports_of_every_kind(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(
        "def f():\n    import surrogates.linear\nif 0:\n    from baselines import ngram\n"
        "import importlib\nimportlib.import_module('clso.search_spaces.gpt2.space')\n"
    )
    assert set(PLUGINS) <= imported(path)


@pytest.mark.parametrize("package", PLUGINS)
def test_plugin_packages_do_not_import_each_other(package: str) -> None:
    for file in (ROOT / package).rglob("*.py"):
        assert not imported(file) & (set(PLUGINS) - {package}), file


def test_the_four_packages_are_named_and_nothing_else_is_packaged() -> None:
    include = PROJECT["tool"]["setuptools"]["packages"]["find"]["include"]
    assert {p.rstrip("*") for p in include} == {"clso", *PLUGINS}
    top = distribution("clso").read_text("top_level.txt")
    assert top is None or set(top.split()) == {"clso", *PLUGINS}
    assert (ROOT / "clso" / "py.typed").exists()


def test_entry_points_point_into_the_plugin_packages_and_are_installed() -> None:
    groups = PROJECT["project"]["entry-points"]
    assert set(groups) == {f"clso.{p}" for p in (*PLUGINS, "models", "tasks")}
    installed = {(e.group, e.name, e.value) for e in distribution("clso").entry_points}
    for group, points in groups.items():
        for name, value in points.items():
            assert value.split(".")[0] in HOMES.get(group, {group.removeprefix("clso.")})
            assert (group, name, value) in installed


@pytest.mark.parametrize("path", [str(p.relative_to(ROOT)) for p in sorted((ROOT / "runs").glob("*.toml"))] or [None])
def test_committed_recipes_are_valid(path: str | None) -> None:
    if path is None:
        pytest.skip("runs/ holds no recipe yet")
    assert isinstance(RunConfig.from_toml(ROOT / path), RunConfig)
