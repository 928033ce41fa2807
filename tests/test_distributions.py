"""The source distribution, and the wheel that is built from it: `clso` alone, everything once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter
from importlib.metadata import version
from pathlib import Path

import pytest
from waiting import HANG_S

ROOT = Path(__file__).parents[1]
PACKAGES = ("clso", "search_spaces", "surrogates", "baselines")
MAPPED = {name: f"clso/{name}" for name in PACKAGES[1:]} | {"runs": "clso/recipes"}


def build(kind: str, source: Path, out: Path) -> Path:
    code = f"import setuptools.build_meta as b; b.build_{kind}({str(out)!r})"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=source, capture_output=True, text=True, timeout=HANG_S
    )
    assert done.returncode == 0, done.stderr
    assert "would be ignored" not in done.stderr
    (made,) = out.iterdir()
    return made


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution."""
    pytest.importorskip("setuptools", minversion="77", reason="the build needs setuptools 77")
    folder = tmp_path_factory.mktemp("build")
    tree = folder / "tree"
    left_out = shutil.ignore_patterns("__pycache__", "local")
    for name in (*PACKAGES, "runs", "tests"):
        shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=left_out)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree / name)
    with tarfile.open(build("sdist", tree, folder / "sdist")) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    return unpacked


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The names in the wheel."""
    made = build("wheel", source, tmp_path_factory.mktemp("wheel") / "out")
    assert made.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(made) as archive:
        return archive.namelist()


def shipped(folder: Path) -> set[str]:
    """What has to be in a distribution, by its place in the repository."""
    kinds = {
        "clso": (
            "**/*.py",
            "**/*.template",
            "templates/report/*.*",
            "models/c_sources/*.[ch]",
            "models/cuda_sources/*.cu*",
            "py.typed",
        ),
        "runs": ("*.toml", "ray/*.yaml"),
    }
    return {
        str(path.relative_to(folder))
        for name in (*PACKAGES, "runs")
        for kind in kinds.get(name, ("**/*.py",))
        for path in (folder / name).glob(kind)
        if not any(p.is_symlink() for p in path.parents)
    }


def test_the_source_distribution_holds_the_packages_once(source: Path) -> None:
    files = {str(p.relative_to(source)) for p in source.rglob("*") if p.is_file()}
    own = {name for name in files if name.partition("/")[0] in (*PACKAGES, "runs", "tests")}
    assert own == shipped(ROOT)
    assert not [path for path in source.rglob("*") if path.is_symlink()]


def test_the_wheel_holds_clso_alone_and_once(wheel: list[str]) -> None:
    assert {name.partition("/")[0] for name in wheel} == {
        "clso",
        f"clso-{version('clso')}.dist-info",
    }
    expected = set()
    for name in shipped(ROOT):
        top, _, rest = name.partition("/")
        expected.add(f"{MAPPED.get(top, top)}/{rest}")
    assert Counter(n for n in wheel if n.startswith("clso/")) == Counter(expected)
