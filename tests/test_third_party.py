"""A stranger's distribution from start to end: written, tested, built, installed into a fresh
environment, and run there."""

from __future__ import annotations

import json
import os
import site
import subprocess
import sys
import sysconfig
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
from waiting import HANG_S

from clso import RunConfig, evolve

NAME = "stranger"


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_S,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def builds_wheels() -> bool:
    """Whether the setuptools at hand does without the package `wheel`; else pip fetches one for the
    build."""
    try:
        return int(version("setuptools").split(".")[0]) > 70
    except PackageNotFoundError:
        return False


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    run(sys.executable, "-m", "clso", "new-space", NAME, cwd=folder)
    return folder / NAME


@pytest.fixture(scope="module")
def python(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of a fresh environment in which the project's wheel is installed.

    What this environment holds is seen from there through a .pth file: torch is not installed a
    second time."""
    folder = tmp_path_factory.mktemp("environment")
    isolation = ["--no-build-isolation"] if builds_wheels() else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
    run(*pip, "wheel", "--no-deps", *isolation, "-w", folder / "dist", ".", cwd=project)
    (wheel,) = (folder / "dist").iterdir()
    assert wheel.name == f"{NAME}-0.1.0-py3-none-any.whl"
    run(sys.executable, "-m", "venv", "--without-pip", folder / "venv", cwd=folder)
    python = folder / "venv" / "bin" / "python"
    (packages,) = (folder / "venv" / "lib").glob("python*/site-packages")
    here = [sysconfig.get_path("purelib"), sysconfig.get_path("platlib"), *site.getsitepackages()]
    lines = [f"import site; site.addsitedir({path!r})" for path in dict.fromkeys(here)]
    (packages / "outer.pth").write_text("\n".join(lines))
    run(*pip, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    assert (packages / NAME / "space.py").exists()
    return python


def manifest(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())["plugins"]["space"]


def test_the_project_as_it_was_written(project: Path, tmp_path: Path) -> None:
    spec = f"{project / NAME / 'space.py'}:Stranger"
    result = evolve(
        RunConfig(gens=3, pop=8, space=spec, device="cpu", energy="null"), tmp_path / "run"
    )
    assert result["best"]["fitness"] > 0
    assert manifest(tmp_path / "run")["sha256"]


def test_the_distribution_in_a_fresh_environment(
    project: Path, python: Path, tmp_path: Path
) -> None:
    clso: list[str | Path] = [python, "-m", "clso"]
    listed = run(*clso, "list", "spaces", cwd=tmp_path)
    assert f"{NAME}.space:Stranger  ({NAME} 0.1.0)" in listed
    assert "gpt2" in listed
    done = run(
        *clso,
        "evolve",
        "--space",
        NAME,
        "--gens",
        "3",
        "--pop",
        "8",
        "--json",
        "--out",
        "run",
        cwd=tmp_path,
    )
    assert json.loads(done)["counts"]["generations"] == 3
    assert manifest(tmp_path / "run") == {"name": NAME, "distribution": NAME, "version": "0.1.0"}
    # Its tests, on the installed package: the folder that they lie in has no copy.
    tests = tmp_path / "test_space.py"
    tests.write_text((project / "tests" / "test_space.py").read_text())
    check = f"\n\ndef test_which() -> None:\n    import {NAME}\n    assert 'site-packages' in {NAME}.__file__\n"
    tests.write_text(tests.read_text() + check)
    done = run(
        python,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        tests,
        cwd=tmp_path,
    )
    assert "21 passed" in done
