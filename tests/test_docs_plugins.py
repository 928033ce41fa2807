"""The code in docs/plugins.md is the template's, and runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

from clso.cli.scaffold import render
from clso.config import RunConfig
from clso.loggers import load_loggers, logged
from clso.run import evolve
from clso.search.generations import Listener

TEXT = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
SPACE, SURROGATE, CRYSTALS, LOGGER, TESTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
(TOML,) = re.findall(r"```toml\n(.*?)```", TEXT, re.DOTALL)


def test_the_space_is_the_templates() -> None:
    files = render("my-space")
    assert files[PurePosixPath("my_space/space.py")] == SPACE
    assert TOML.split("\n\n")[0] in files[PurePosixPath("pyproject.toml")]


def test_the_pages_tests_pass_on_the_pages_code(tmp_path: Path) -> None:
    (tmp_path / "my_space").mkdir()
    (tmp_path / "my_space" / "space.py").write_text(SPACE)
    (tmp_path / "my_surrogates.py").write_text(SURROGATE)
    (tmp_path / "my_crystals.py").write_text(CRYSTALS)
    (tmp_path / "test_page.py").write_text(TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not hash_seed"],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    passed = re.search(r"(\d+) passed", done.stdout)
    assert passed is not None
    assert int(passed[1]) >= 30


def test_the_pages_logger_logs(tmp_path: Path) -> None:
    (tmp_path / "my_logger.py").write_text(LOGGER)
    kinds = load_loggers([f"{tmp_path / 'my_logger.py'}:Lines"])
    config = RunConfig(space="nk", gens=2, pop=8, surrogate="none", energy="null", device="cpu")
    with logged(Listener(), kinds, tmp_path / "run", config) as listener:
        evolve(config, tmp_path / "run", listener=listener)
    first, *generations, last = map(json.loads, (tmp_path / "run.log").read_text().splitlines())
    assert first["space"] == "nk"
    assert [row["generation"] for row in generations] == [1, 2]
    assert last["winner/fitness"] == generations[-1]["best/fitness"]
