"""A misspelt objective is found before torch is imported; what options state of objectives is what their spaces offer."""

from __future__ import annotations

import subprocess
import sys

import pytest

from clso import plugins
from clso.space.objectives import ENERGY

SPACES = ("gpt2", "gpt2-pointer", "gpt2-memory", "nsm", "nsm-memory", "vsla")


@pytest.mark.parametrize("name", SPACES)
def test_options_state_what_the_space_offers(name: str) -> None:
    space = plugins.load("search_spaces", name).value
    offered = (*(m.name for m in space.measures), *space.cost_names, ENERGY)
    options = plugins.options_apart("search_spaces", name)
    assert options is space.Options
    assert options.objectives == offered


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--space", "vsla", "--objective", "los"], "unknown objective; got 'los'"),
        (["--space", "gpt2", "--limit", "flop=3"], "unknown limit; got 'flop'"),
    ],
)
def test_a_misspelt_objective_waits_for_no_torch(arguments: list[str], message: str) -> None:
    code = (
        "import sys; from clso.cli import main\ntry: main()\nfinally: print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "evolve", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert message in done.stderr
    assert "Did you mean" in done.stderr
    assert done.stdout.splitlines()[-1] == "False"
