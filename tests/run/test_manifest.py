"""The manifest says which code ran: the commit of CLSO's own checkout, and nobody else's."""

from __future__ import annotations

import os
import shutil
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from clso.run.manifest import describe_code

pytestmark = pytest.mark.skipif(shutil.which("git") is None, reason="git is not installed")

UNKNOWN = {"version": version("clso"), "commit": None, "modified": None}


def git(folder: Path, *arguments: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    command = ["git", *who, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A package in a checkout of one commit."""
    folder = tmp_path / "checkout" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    git(folder, "init", "-q", "..")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


def test_a_checkout_has_its_commit(package: Path) -> None:
    commit = git(package, "rev-parse", "HEAD")
    assert len(commit) >= 40
    assert describe_code(package) == {**UNKNOWN, "commit": commit, "modified": False}


def test_a_changed_file_is_told_and_a_new_one_is_not(package: Path) -> None:
    (package / "results.json").write_text("{}")
    assert describe_code(package)["modified"] is False
    (package / "__init__.py").write_text("changed = True")
    assert describe_code(package)["modified"] is True
    git(package, "add", "__init__.py")  # staged is changed, too
    assert describe_code(package)["modified"] is True


def test_a_wheel_inside_somebodys_repository_has_none(package: Path) -> None:
    installed = package.parent / "venv" / "package"
    installed.mkdir(parents=True)
    (installed / "__init__.py").write_text("")
    assert describe_code(installed) == UNKNOWN


def test_no_repository_no_commit_and_no_git(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    (alone / "__init__.py").write_text("")
    assert describe_code(alone) == UNKNOWN
    git(alone, "init", "-q")
    git(alone, "add", ".")
    assert describe_code(alone) == UNKNOWN  # nothing was ever committed
    (package.parent / ".git" / "HEAD").write_text("damaged")
    assert describe_code(package) == UNKNOWN
    monkeypatch.setenv("PATH", str(tmp_path))
    assert describe_code() == UNKNOWN


def test_a_hooks_repository_is_not_taken_for_ours(
    tmp_path: Path, package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """git sets GIT_DIR for what its hooks start."""
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "-q")
    git(other, "commit", "-q", "--allow-empty", "-m", "other")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    assert describe_code(package)["commit"] == git(package, "rev-parse", "HEAD")
