"""The code in docs/plugins.md is the template's, and runs."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path, PurePosixPath

from clso.cli.scaffold import render

TEXT = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
SPACE, SURROGATE, CRYSTALS, TESTS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
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
    assert "31 passed" in done.stdout
