"""`clso list schema`: a schema that takes what the settings take, and no more."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from clso import plugins
from clso.cli.schema import recipe_schema
from clso.config import RunConfig, read_toml

ROOT = Path(__file__).parents[2]


def recipes() -> Iterator[Path]:
    yield from sorted((ROOT / "runs").glob("*.toml"))
    yield from sorted((ROOT / "runs").rglob("config.toml"))


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = recipe_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_recipe_and_recorded_configuration_is_valid(validator: Any) -> None:
    paths = list(recipes())
    assert len(paths) > 10
    for path in paths:
        assert [e.message for e in validator.iter_errors(read_toml(path))] == [], path


def test_every_setting_is_in_it_with_its_meaning() -> None:
    found = recipe_schema()["properties"]
    assert {f.name for f in fields(RunConfig)} <= set(found)
    assert found["gens"] == {"type": "integer", "description": "Generations.", "default": 50}
    assert found["workers"]["properties"]["timeout_s"]["type"] == "number"
    assert found["prove"]["properties"]["steps_grid"]["items"] == {"type": "integer"}


@pytest.mark.parametrize(
    "values",
    [
        {"gen": 5},
        {"gens": "5"},
        {"fitness_tokens": 2048},
        {"workers": {"number": 3}},
        {"options": {"k": [1]}},
        {"objective": [3]},
    ],
    ids=str,
)
def test_what_the_settings_refuse_is_refused(validator: Any, values: dict[str, Any]) -> None:
    assert not validator.is_valid(values)


def test_the_options_of_a_space(clso: Any) -> None:
    done = clso("list", "schema", "nk")
    assert done.code == 0
    validator = jsonschema.Draft202012Validator(json.loads(done.out))
    assert validator.is_valid({"space": "nk", "options": {"n": 12, "k": 2}})
    assert not validator.is_valid({"space": "nk", "options": {"d_model": 64}})
    assert "Did you mean 'nk'?" in clso("list", "schema", "nkk").error
    assert json.loads(clso("list", "schema").out) == recipe_schema()


@pytest.mark.parametrize("name", ["gpt2", "gpt2-pointer", "gpt2-memory", "nsm", "nsm-memory"])
def test_options_that_are_registered_apart_are_the_spaces_own(name: str) -> None:
    apart = plugins.load_options("search_spaces", name)
    assert apart is plugins.load("search_spaces", name).options
