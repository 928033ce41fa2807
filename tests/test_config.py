from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from clso.config import RunConfig
from clso.errors import ConfigError
from clso.evaluation.workers import Workers
from clso.prove.config import ProveConfig


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    return path


def test_toml_round_trip(tmp_path: Path) -> None:
    config = RunConfig(
        gens=3,
        data='text:a "b".txt',
        fitness_tokens=(10, 20, 30),
        idle_s=0.5,
        limits=("flops=1e6",),
    )
    assert RunConfig.from_toml(write(tmp_path, config.to_toml())) == config
    assert RunConfig.from_toml(write(tmp_path, "")) == RunConfig()


def test_paths_mean_the_same_in_every_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    given = {
        "data": "text:t.txt",
        "options": {"folder": "~/imdb", "checkpoint": "best", "depth": 3},
    }
    recipe = write(tmp_path, RunConfig(**given).to_toml())  # type: ignore[arg-type]
    monkeypatch.chdir("/")
    config = RunConfig.from_toml(recipe)
    assert config.data == f"text:{tmp_path / 't.txt'}"
    assert config.options == {
        "folder": str(tmp_path / "home" / "imdb"),
        "checkpoint": str(tmp_path / "best"),
        "depth": 3,
    }
    assert RunConfig().data == "python-stdlib"
    assert RunConfig(data="text:").data == "text:"


def test_integers_do_for_floats(tmp_path: Path) -> None:
    config = RunConfig.from_toml(write(tmp_path, "idle_s = 1"))
    assert config.idle_s == 1.0
    assert type(config.idle_s) is float


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gen = 3", "unknown configuration key; got 'gen'. Did you mean 'gens'?"),
        ("banana = 3", "unknown configuration key; got 'banana'. Remove it."),
        ('gens = "3"', "gens is of type int; got '3'"),
        ("gens = true", "gens is of type int; got True"),
        ("gens = 3.0", "gens is of type int; got 3.0"),
        ("data = 3", "data is of type str; got 3"),
        ("fitness_tokens = 3", "fitness_tokens is of type tuple; got 3"),
        ("fitness_tokens = [1.5]", "fitness_tokens is of type tuple; got [1.5]"),
        ("objective = [1]", "objective is of type tuple; got [1]"),
        ("limits = [1]", "limits is of type tuple; got [1]"),
        ('limits = "flops=1"', "limits is of type tuple; got 'flops=1'"),
        ("[gens]", "gens is of type int; got {}"),
        ("gens = 0", "gens is at least 1; got 0"),
        ("pop = 1", "pop is at least 2; got 1"),
        ("pop = -4", "pop is at least 2; got -4"),
        ("seed = -1", "seed is at least 0; got -1"),
        ("patience = -1", "patience is at least 0; got -1"),
        ("idle_s = -1", "idle_s is a number of seconds, at least 0; got -1.0"),
        ("idle_s = nan", "idle_s is a number of seconds, at least 0; got nan"),
        ("fitness_tokens = []", "fitness_tokens are positive and rising; got []"),
        ("fitness_tokens = [20, 10]", "fitness_tokens are positive and rising; got [20, 10]"),
        ("fitness_tokens = [0, 10]", "fitness_tokens are positive and rising; got [0, 10]"),
        ("gens = ", "is TOML"),
    ],
)
def test_bad_recipes_name_the_key_and_the_value(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_toml(write(tmp_path, text))
    assert message in str(caught.value)


def test_recipes_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing.toml"):
        with pytest.raises(ConfigError, match="can be read"):
            RunConfig.from_toml(path)
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is TOML"):
        RunConfig.from_toml(tmp_path / "binary.toml")


def test_options_win_over_a_recipe_and_are_checked() -> None:
    config = RunConfig(gens=7, pop=9).with_options(gens=8, pop=None)
    assert (config.gens, config.pop) == (8, 9)
    bad: list[dict[str, Any]] = [{"gens": 0}, {"gens": "8"}, {"nonsense": 1}]
    for options in bad:
        with pytest.raises(ConfigError):
            config.with_options(**options)


def test_counts_and_seeds_of_numpy_are_written_as_numbers(tmp_path: Path) -> None:
    config = RunConfig(seed=np.int64(2), gens=np.int32(3))  # type: ignore[arg-type]
    (tmp_path / "config.toml").write_text(config.to_toml())
    assert RunConfig.from_toml(tmp_path / "config.toml") == RunConfig(seed=2, gens=3)


@pytest.mark.parametrize("name", ["space", "surrogate", "data", "tokenizer"])
def test_text_that_no_file_could_hold_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} can be written as UTF-8"):
        RunConfig(**{name: "a\udcff.py:S"})  # type: ignore[arg-type]


def test_settings_from_python_are_checked_as_those_of_a_recipe() -> None:
    bad: list[tuple[type, dict[str, Any], str]] = [
        (RunConfig, {"genz": 3}, "Did you mean 'gens'"),
        (RunConfig, {"gens": "3"}, "gens is of type int; got '3'"),
        (RunConfig, {"gens": True}, "gens is of type int"),
        (RunConfig, {"objective": "loss"}, "objective is of type tuple"),
        (RunConfig, {"data": "text:\udcff"}, "UTF-8"),
        (Workers, {"m": 3}, "unknown configuration key"),
        (Workers, {"timeout_s": "long"}, "timeout_s is of type float"),
        (ProveConfig, {"rates": (1, "a")}, "rates is of type tuple"),
    ]
    for kind, values, message in bad:
        with pytest.raises(ConfigError, match=re.escape(message)):
            kind(**values)
    numbers: Any = {"gens": np.int64(3), "seed": np.uint8(4), "idle_s": np.float32(1)}
    config = RunConfig(**numbers, fitness_tokens=[np.int32(5)])  # type: ignore[arg-type]
    assert config == RunConfig(gens=3, seed=4, idle_s=1.0, fitness_tokens=(5,))
    assert {type(v) for v in (config.gens, config.seed, *config.fitness_tokens)} == {int}


def test_values_without_end_are_one_line(tmp_path: Path) -> None:
    for value in ("[" * 100_000 + "]" * 100_000, "9" * 5000):
        with pytest.raises(ConfigError, match="is TOML"):
            RunConfig.from_toml(write(tmp_path, f"gens = {value}"))


OLD = """space = "nk"
task = ""
library = "grown"
checkpoint = ""
mlp = false
library_size = 64
n_layers = 2
d_model = 128
n_heads = 2
n_positions = 128
"""


def test_old_files_that_hold_every_size_load_for_any_space(tmp_path: Path) -> None:
    assert RunConfig.from_toml(write(tmp_path, OLD)) == RunConfig(space="nk")
    text = OLD + "[options]\nn = 12\n"
    assert RunConfig.from_toml(write(tmp_path, text)).options == {"n": 12}


def test_what_old_files_set_is_set_of_the_space(tmp_path: Path) -> None:
    text = OLD.replace("d_model = 128", "d_model = 64").replace("mlp = false", "mlp = true")
    assert RunConfig.from_toml(write(tmp_path, text)).options == {"d_model": 64, "mlp": True}
    # Equal, but of another type: for the space to refuse, by name.
    assert RunConfig.from_toml(write(tmp_path, "mlp = 0")).options == {"mlp": 0}
    with pytest.raises(ConfigError, match="an option is set once; got 'd_model'"):
        RunConfig.from_toml(write(tmp_path, "d_model = 64\n[options]\nd_model = 32\n"))


def test_sizes_from_python_are_options() -> None:
    with pytest.raises(ConfigError, match=r"got 'd_model'. It is an option of the search space"):
        RunConfig(d_model=16)  # type: ignore[call-arg]
    config = RunConfig(options={"d_model": 16}).with_options(options={"n_layers": 3}, gens=2)
    assert config == RunConfig(gens=2, options={"d_model": 16, "n_layers": 3})
    with pytest.raises(ConfigError, match="checkpoint can be written as UTF-8"):
        RunConfig(options={"checkpoint": "/a\udcff"})
