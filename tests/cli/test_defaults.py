"""What a run is like if nobody says how it is to be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from clso.cli.options import make_config
from clso.config import RunConfig
from clso.search_spaces.nsm.options import NSMOptions

OF_THE_SPACE, OF_ALL = NSMOptions.gens, RunConfig().gens


@pytest.mark.parametrize(
    ("given", "gens"),
    [
        ({}, OF_ALL),
        ({"space": "nsm"}, OF_THE_SPACE),
        ({"space": "nsm", "gens": 3}, 3),
        ({"space": "nk"}, OF_ALL),
    ],
    ids=["gpt2", "nsm", "told", "nk"],
)
def test_a_space_may_say_how_many_generations_there_are(given: dict[str, Any], gens: int) -> None:
    assert OF_THE_SPACE != OF_ALL
    assert make_config(None, **given).gens == gens


def test_a_recipe_is_taken_at_its_word(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('space = "nsm"\ngens = 7\n')
    assert make_config(recipe).gens == 7
