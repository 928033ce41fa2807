"""`clso prove` on the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import HANG_S

from clso.config import RunConfig

TABLE = """
[prove]
seeds = 1
window_s = 0.01
rates = [1e-2]
schedules = ["constant"]
steps_grid = [2]
score_every = 2
reference_steps = 2
curve_window_s = 0.01
curve_steps = [2]
curve_gens = [1]
control_seeds = 1
"""


@pytest.fixture
def proof_recipe(recipe: Path) -> Path:
    recipe.write_text(recipe.read_text().replace('library = "grown"', 'library = "random"') + TABLE)
    return recipe


def test_prove_prints_the_headline_and_says_what_it_is_not(
    clso: Any, proof_recipe: Path, tmp_path: Path
) -> None:
    done = clso("prove", "--recipe", proof_recipe, "--out", tmp_path / "proof")
    assert done.code == 0
    verdict = json.loads((tmp_path / "proof" / "verdict.json").read_text())
    assert (
        f"| CLSO, the whole run | {verdict['clso']['test_loss']:.3f} | not measured |" in done.out
    )
    assert "No energy claim is made: energy measurement was switched off" in done.out
    assert "not by the protocol: windows of 0.01 s" in done.out
    assert "window/6/clso" in done.err
    again = clso("prove", "--recipe", proof_recipe, "--out", tmp_path / "proof", "--json")
    assert json.loads(again.out) == verdict
    other = clso("prove", "--recipe", proof_recipe, "--seeds", "2", "--out", tmp_path / "proof")
    assert "settings that it was begun with" in other.error
    assert other.code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--steps-grid", "many"], "comma-separated"),
        (["--steps-grid", "4,2"], "steps_grid are positive and rising"),
        (["--seeds", "0"], "0 is not in the range x>=1"),
        (["--window-s", "-1"], "window_s is a positive number"),
        (["--recipe", "missing.toml"], "can be read"),
        (["--device", "gpu"], "device is auto, cpu, cuda or cuda:N"),
    ],
)
def test_bad_options(clso: Any, tmp_path: Path, options: list[str], message: str) -> None:
    done = clso("prove", "--out", tmp_path / "proof", *options)
    assert done.code == 2
    assert message in done.error
    assert not (tmp_path / "proof").exists()


def test_its_recipe_is_a_recipe_of_evolve(proof_recipe: Path) -> None:
    assert RunConfig.from_toml(proof_recipe).gens == 6


def test_help_imports_neither_torch_nor_numpy() -> None:
    code = (
        "import sys\nfrom click.testing import CliRunner\nfrom clso.cli import cli\n"
        "assert CliRunner().invoke(cli, ['prove', '--help']).exit_code == 0\n"
        "print(*({'torch', 'ray', 'numpy', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=HANG_S
    )
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, "", "")
