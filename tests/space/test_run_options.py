"""The options of a run: its space's, its task's, and what else has them."""

from __future__ import annotations

from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import ConfigError
from clso.space.build import all_options, load_plugins, model_sizes, with_option_texts

REFERENCE = {"n_layers": 2, "d_model": 128, "n_heads": 2, "n_positions": 128}


def test_those_that_are_not_set_have_their_defaults() -> None:
    assert all_options(RunConfig(options={"d_model": 64})) == {
        **REFERENCE,
        "d_model": 64,
        "library": "grown",
        "checkpoint": "",
        "mlp": False,
        "neurons": True,
        "library_size": 64,
        "crystals": "",
    }
    assert all_options(RunConfig(space="nk", options={"k": 2}))["k"] == 2


def test_a_run_on_a_task_has_the_options_of_both() -> None:
    options = {"max_depth": 3, "d_model": 16}
    found = all_options(RunConfig(space="nsm", task="listops", options=options))
    assert (found["max_depth"], found["d_model"], found["library"]) == (3, 16, "grown")
    with pytest.raises(ConfigError, match="unknown option of this task; got 'depth'"):
        all_options(RunConfig(space="nsm", task="listops", options={"depth": 3}))


def test_baselines_have_the_sizes_of_the_space() -> None:
    assert model_sizes(RunConfig(options={"d_model": 64})) == {**REFERENCE, "d_model": 64}
    assert model_sizes(RunConfig(space="nsm", options={"n_layers": 3}))["n_layers"] == 3
    assert model_sizes(RunConfig(space="nk")) == REFERENCE


@pytest.mark.parametrize(
    ("space", "options", "message"),
    [
        ("gpt2", {"library": "borrowed"}, "library is grown, random or warm; got 'borrowed'"),
        ("gpt2", {"library": "warm"}, "library warm is cut from a checkpoint; got ''"),
        ("gpt2", {"checkpoint": "/a"}, "library grown uses no checkpoint; got '/a'"),
        ("gpt2", {"library": "warm", "checkpoint": 3}, "checkpoint is of type str; got 3"),
        ("gpt2", {"d_modl": 3}, "got 'd_modl'. Did you mean 'd_model'"),
        ("gpt2", {"library_size": 0}, "library_size is at least 1; got 0"),
        ("nsm", {"library": "warm"}, "library is grown or random; got 'warm'"),
        ("nsm", {"n_layers": 0}, "n_layers is at least 1; got 0"),
        ("gpt2-pointer", {"library": "random"}, "got 'library'. Known: n_layers"),
        ("nk", {"d_model": 64}, "unknown option of this search space; got 'd_model'"),
    ],
)
def test_bad_ones_are_refused_before_anything_is_built(
    space: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        load_plugins(RunConfig(space=space, options=options))
    assert message in str(caught.value)


def test_older_forms_that_ask_for_what_is_anyway_suit_every_space() -> None:
    config = RunConfig(space="gpt2-pointer")
    moved = {"library": "grown", "mlp": "False", "library_size": "64"}
    assert with_option_texts(config, [], moved) == config
    with pytest.raises(ConfigError, match="got 'library'"):
        with_option_texts(config, [], {"library": "random"})
    found = with_option_texts(RunConfig(), ["library=warm"], {"library": "random", "mlp": "True"})
    assert found.options == {"library": "warm", "mlp": True}
