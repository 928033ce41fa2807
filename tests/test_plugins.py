from __future__ import annotations

import hashlib
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from clso import plugins
from clso.baseline import Baseline
from clso.config import RunConfig
from clso.errors import PluginError
from clso.models.gpt2 import LanguageModel
from clso.space import SearchSpace
from clso.tasks.base import Task


@pytest.mark.parametrize("group", ["search_spaces", "surrogates", "baselines", "models", "tasks"])
def test_every_entry_point_resolves(group: plugins.Group) -> None:
    found = plugins.available(group)
    assert found
    for name, points in found.items():
        assert len(points) == 1
        plugin = plugins.load(group, name)
        assert plugin.distribution == "clso"
        if group == "search_spaces":
            assert issubclass(plugin.subclass_of(SearchSpace), SearchSpace)
        elif group == "baselines":
            assert issubclass(plugin.subclass_of(Baseline), Baseline)
        elif group == "models":
            assert issubclass(plugin.subclass_of(LanguageModel), LanguageModel)
            assert plugin.value.name == name
        elif group == "tasks":
            assert plugin.subclass_of(Task).name == name
        else:
            estimator = plugin.value(0)
            assert hasattr(estimator, "fit")
            assert hasattr(estimator, "predict")


def test_the_built_in_names() -> None:
    assert {"gpt2"} <= set(plugins.available("search_spaces"))
    assert {"ridge", "forest", "gp"} <= set(plugins.available("surrogates"))
    assert {"adamw", "ngram", "random-search"} <= set(plugins.available("baselines"))


def claims(monkeypatch: pytest.MonkeyPatch, *values: str) -> None:
    points = [EntryPoint("odd", value, "clso.surrogates") for value in values]
    monkeypatch.setattr(plugins, "_installed", lambda group: points)


def test_a_name_claimed_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    claims(monkeypatch, "math:sin", "math:cos")
    with pytest.raises(PluginError, match=r"claimed once.*math:sin.*math:cos"):
        plugins.load("surrogates", "odd")
    claims(monkeypatch, "math:sin", "math:sin")  # the same one, seen on two paths
    assert plugins.load("surrogates", "odd").value(0) == 0


@pytest.mark.parametrize("value", ["no_such_module_anywhere:x", "math:no_such_name"])
def test_a_plugin_that_cannot_be_imported(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    claims(monkeypatch, value)
    with pytest.raises(PluginError, match="can be imported"):
        plugins.load("surrogates", "odd")


def test_unknown_names_are_listed() -> None:
    with pytest.raises(
        PluginError, match=r"unknown search space; got 'gpt3'. Did you mean 'gpt2'\? Known: .*gpt2"
    ):
        plugins.load("search_spaces", "gpt3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "no class or function Space in"),
        ("1 / 0", "ZeroDivisionError"),
        ("def f(:", "SyntaxError"),
        ("import no_such_module_anywhere", "ModuleNotFoundError"),
    ],
)
def test_plugin_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(PluginError, match=message):
        plugins.load("search_spaces", f"{path}:Space")
    path.write_text("class Space: pass")
    plugin = plugins.load("search_spaces", f"{path}:Space")
    assert plugin.distribution == str(path)
    with pytest.raises(PluginError, match=r"is a subclass of clso\.space\.SearchSpace"):
        plugin.subclass_of(SearchSpace)


def distribution(folder: Path, name: str, version: str, points: str) -> None:
    """What an installed distribution leaves on sys.path."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_a_third_partys_distribution_is_found(site: Path) -> None:
    points = "[clso.search_spaces]\nstrange-space = strange_one:Space\n[clso.surrogates]\nstrange = strange_one:make\n"
    distribution(site, "strange-one", "2.7", points)
    (site / "strange_one.py").write_text("class Space: pass\ndef make(random_state): pass\n")
    for group, name in (("search_spaces", "strange-space"), ("surrogates", "strange")):
        plugin = plugins.load(group, name)  # type: ignore[arg-type]
        assert plugin.describe() == {"name": name, "distribution": "strange-one", "version": "2.7"}
    with pytest.raises(PluginError, match=r"Did you mean 'strange-space'\?"):
        plugins.load("search_spaces", "Strange_Spcae")


@pytest.mark.parametrize("second", ["two:Space", "one:Space"])
def test_two_distributions_claim_a_name(site: Path, second: str) -> None:
    distribution(site, "first-party", "1", "[clso.search_spaces]\nstrange = one:Space\n")
    distribution(site, "second-party", "1", f"[clso.search_spaces]\nstrange = {second}\n")
    with pytest.raises(
        PluginError, match=r"claimed once.*first-party \(one:Space\).*second-party.*Uninstall one"
    ):
        plugins.load("search_spaces", "strange")


def test_a_distribution_that_cannot_be_imported_is_named(site: Path) -> None:
    distribution(site, "broken-one", "1", "[clso.search_spaces]\nbroken-space = broken_one:Space\n")
    (site / "broken_one.py").write_text("import sys; sys.exit('not today')")
    with pytest.raises(
        PluginError, match=r"SystemExit: not today.*Repair or reinstall broken-one"
    ) as caught:
        plugins.load("search_spaces", "broken-space")
    assert isinstance(caught.value.__cause__, SystemExit)


def test_a_file_is_known_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text("class Space: number = 1")
    first = plugins.load("search_spaces", f"{path}:Space")
    assert first.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert plugins.load("search_spaces", f"{path}:Space").value is first.value  # run once
    path.write_text("class Space: number = 2")  # as long, and within the resolution of a time stamp
    second = plugins.load("search_spaces", f"{path}:Space")
    assert (first.value.number, second.value.number) == (1, 2)
    assert second.sha256 != first.sha256
    assert not (tmp_path / "__pycache__").exists()


def test_two_files_of_one_name(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine.py").write_text(
            "from dataclasses import dataclass\n@dataclass\nclass Space: x: 'int'"
        )
    first, second = (
        plugins.load("search_spaces", f"{tmp_path / name / 'mine.py'}:Space") for name in "ab"
    )
    assert first.value.__module__ != second.value.__module__


@pytest.mark.parametrize(
    ("text", "spec", "message"),
    [
        (
            "class MySpace: pass",
            "mine.py:MySpcae",
            r"no class or function MySpcae in .*mine\.py\. Did you mean 'MySpace'\?",
        ),
        ("class MySpace: pass", "mine.py", "given as FILE.py:NAME"),
        (
            "import math; math.nothing",
            "mine.py:Space",
            "raised AttributeError.*: .*can be imported",
        ),
        ("import sys; sys.exit()", "mine.py:Space", "raised SystemExit.*: .*can be imported"),
        ("\0", "mine.py:Space", "can be imported"),
    ],
)
def test_faults_of_plugin_files(tmp_path: Path, text: str, spec: str, message: str) -> None:
    (tmp_path / "mine.py").write_text(text)
    before = set(sys.modules)
    with pytest.raises(PluginError, match=message):
        plugins.load("search_spaces", str(tmp_path / spec))
    if "imported" in message:
        assert not {m for m in set(sys.modules) - before if m.startswith("clso_plugin")}


def test_a_run_keeps_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    config = RunConfig(space="./mine.py:Space", surrogate="sub/../mine.py:make")
    assert (config.space, config.surrogate) == (
        f"{tmp_path}/mine.py:Space",
        f"{tmp_path}/mine.py:make",
    )
    assert RunConfig(space="gpt2", surrogate="none").space == "gpt2"
