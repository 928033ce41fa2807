from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import ConfigError
from clso.space import SearchSpace
from clso.space.options import NoOptions, make_options, parse_options


@dataclass(frozen=True)
class Options:
    n: int = 3
    ratio: float = 0.5
    name: str = "a"
    fast: bool = False


def test_texts_become_the_fields_types() -> None:
    values = parse_options(Options, ["n=7", "ratio = 2", "name=x=y", "fast=TRUE", "n=8"])
    assert values == {"n": 8, "ratio": 2.0, "name": "x=y", "fast": True}
    assert type(values["ratio"]) is float
    assert make_options(Options, values) == Options(8, 2.0, "x=y", True)
    assert make_options(Options, {}) == Options()


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (["n"], "an option is KEY=VALUE; got 'n'"),
        (["n=x"], "option n is of type int; got 'x'"),
        (["n=1.5"], "option n is of type int; got '1.5'"),
        (["ratio="], "option ratio is of type float; got ''"),
        (["fast=1"], "option fast is of type bool; got '1'"),
        (["ratoi=1"], "got 'ratoi'. Did you mean 'ratio'? Known: n, ratio, name, fast."),
    ],
)
def test_bad_texts(pairs: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_options(Options, pairs)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("values", "message"), [({"n": "3"}, "n is of type int; got '3'"), ({"m": 3}, "unknown option")]
)
def test_bad_values_of_a_recipe(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make_options(Options, values)


def test_a_space_without_options_refuses_any() -> None:
    assert SearchSpace.Options is NoOptions
    for refuse in (
        lambda: make_options(NoOptions, {"n": 1}),
        lambda: parse_options(NoOptions, ["n=1"]),
    ):
        with pytest.raises(ConfigError, match="this search space takes no options; got 'n'"):
            refuse()


def test_a_config_carries_them_through_toml(tmp_path: Path) -> None:
    config = RunConfig(space="nk", options={"n": 12, "fast": True, "ratio": 0.25, "name": "a b"})
    path = tmp_path / "config.toml"
    path.write_text(config.to_toml())
    assert "[options]" in config.to_toml()
    assert RunConfig.from_toml(path) == config
    assert config != replace(config, options={})
    assert hash(config) == hash(RunConfig.from_toml(path))
    assert "options" not in RunConfig().to_toml()
    assert RunConfig().with_options(options={"n": 1}).options == {"n": 1}


@pytest.mark.parametrize(
    "text", ["options = 3", "[options]\nn = [1]", "[options.n]\nm = 1", "[options]\nn = 2020-01-01"]
)
def test_bad_tables(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match="options"):
        RunConfig.from_toml(path)
