from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from clso import plugins
from clso.baseline import Baseline
from clso.errors import PluginError
from clso.space import SearchSpace


@pytest.mark.parametrize("group", ["search_spaces", "surrogates", "baselines"])
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
    monkeypatch.setattr(plugins, "entry_points", lambda group: points)


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
    with pytest.raises(PluginError, match=r"unknown search space; got 'gpt3'. Did you mean 'gpt2'\? Known: .*gpt2"):
        plugins.load("search_spaces", "gpt3")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1", "defines 'Space'"),
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
