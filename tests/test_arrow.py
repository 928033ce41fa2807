"""The arrows point one way (import-linter's contracts in pyproject.toml), and the project's own
lists are right."""

from __future__ import annotations

import os
import subprocess
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
# Groups whose own members are part of the framework: what CLSO is about, and what it is compared
# with.
HOMES = {
    "clso.options": ("clso.search_spaces", "clso.space"),
    "clso.models": ("clso.models", "clso.baselines"),
    "clso.tasks": ("clso.tasks",),
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def contracts(root: Path) -> subprocess.CompletedProcess[str]:
    """What import-linter says of the source tree in `root`."""
    code = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False
    )


def test_the_contracts_hold() -> None:
    done = contracts(ROOT)
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


def test_every_package_is_listed_and_the_wheel_holds_clso_alone() -> None:
    settings = PROJECT["tool"]["setuptools"]
    found = {
        ".".join(folder.relative_to(ROOT).parts)
        for top in ("clso", *PLUGINS)
        for folder in (ROOT / top, *(ROOT / top).rglob("*"))
        if (folder / "__init__.py").exists() and not folder.is_symlink()
    }
    expected = {name if name.startswith("clso") else f"clso.{name}" for name in found}
    assert {n for n in settings["packages"] if n != "clso.recipes"} == expected
    for name in PLUGINS:
        assert settings["package-dir"][f"clso.{name}"] == name
        assert (ROOT / "clso" / name).resolve() == ROOT / name  # tools that read the source tree
    top = distribution("clso").read_text("top_level.txt")
    assert top is None or top.split() == ["clso"]
    assert (ROOT / "clso" / "py.typed").exists()


def test_entry_points_point_into_the_plugin_packages_and_are_installed() -> None:
    groups = PROJECT["project"]["entry-points"]
    assert set(groups) == {f"clso.{p}" for p in (*PLUGINS, "loggers", "models", "tasks", "options")}
    installed = {(e.group, e.name, e.value) for e in distribution("clso").entry_points}
    for group, points in groups.items():
        for name, value in points.items():
            assert value.startswith(tuple(f"{home}." for home in HOMES.get(group, (group,))))
            assert (group, name, value) in installed


def test_old_imports_go_on_working_and_say_where_things_are(tmp_path: Path) -> None:
    code = """
import importlib, warnings
from clso.moved import MOVED
for old, homes in MOVED.items():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            module = importlib.import_module(old)
        except ModuleNotFoundError as error:
            assert error.name == "triton"  # which only CUDA builds have
            continue
    assert any(f"{old} moved: import {homes[0]}" in str(w.message) for w in caught), old
    for home in map(importlib.import_module, homes):
        for name in getattr(home, "__all__", ()):
            assert getattr(module, name) is not None
from clso.language import LanguageModelSpace, SpaceContext
from clso.options import make_options, options_type
from clso.screening import Screener
from clso.search import Listener, Search
from clso.run import build_space, load_plugins
import baselines.kneser_ney, clso.baselines.kneser_ney, surrogates.linear
assert baselines.kneser_ney.KneserNey is clso.baselines.kneser_ney.KneserNey
for gone in ("baselines.nobody", "clso.nobody"):
    try:
        importlib.import_module(gone)
    except ModuleNotFoundError as error:
        assert error.name == gone
    else:
        raise SystemExit(gone)
"""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "path", [str(p.relative_to(ROOT)) for p in sorted((ROOT / "runs").glob("*.toml"))]
)
def test_committed_recipes_are_valid(path: str) -> None:
    assert isinstance(RunConfig.from_toml(ROOT / path), RunConfig)
