"""Copies of run folders on fsspec's own file systems."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFile
from ray_runs import TESTS, outcome
from stopping import StopAfter

from clso.cli import cli
from clso.config import RunConfig
from clso.errors import ConfigError, MissingDependencyError, RunFolderError
from clso.run import evolve, resume
from clso.run import mirror as sync
from clso.run.mirror import Mirror, fetch
from clso.search.generations import Interrupted


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    yield (
        f"memory://{tmp_path.name}/run"
        if request.param == "memory"
        else f"file://{tmp_path}/copy/run"
    )
    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def toy(tiny: RunConfig) -> RunConfig:
    return replace(tiny, space=f"{TESTS / 'toys.py'}:OneMax", surrogate="none", options={})


def files(folder: Path) -> dict[str, bytes]:
    kept = (p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in kept}


def test_the_copy_is_the_folder(tiny: RunConfig, tmp_path: Path, url: str) -> None:
    evolve(tiny, tmp_path / "run", sync=url)
    fetch(url, tmp_path / "fetched")
    assert files(tmp_path / "fetched") == files(tmp_path / "run")
    assert "best/model.safetensors" in files(tmp_path / "fetched")


def test_a_run_goes_on_from_its_copy_on_another_machine(
    toy: RunConfig, tmp_path: Path, url: str
) -> None:
    evolve(toy, tmp_path / "whole")
    stop = StopAfter(2)
    with pytest.raises(Interrupted):
        evolve(toy, tmp_path / "here", listener=stop, stop=stop, sync=url)
    result = CliRunner().invoke(cli, ["resume", str(tmp_path / "there"), "--sync", url, "--json"])
    assert result.exception is None
    assert outcome(tmp_path / "there") == outcome(tmp_path / "whole")
    fetch(url, tmp_path / "once more")
    assert outcome(tmp_path / "once more") == outcome(tmp_path / "whole")


def test_every_copy_on_the_way_can_be_resumed(
    toy: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after the loss of the machine, at each moment between two files."""
    monkeypatch.setattr(sync, "_EVERY_S", 0.0)
    monkeypatch.setattr("clso.run.training._SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("clso.run.training._SAVE_SHARE", math.inf)
    url, snapshots = f"file://{tmp_path}/copy", []
    put = Mirror._put

    def and_look(mirror: Mirror, name: str) -> None:
        put(mirror, name)
        if (tmp_path / "copy" / "checkpoint.json").exists():
            snapshots.append(files(tmp_path / "copy"))

    monkeypatch.setattr(Mirror, "_put", and_look)
    evolve(toy, tmp_path / "run", sync=url)
    assert len(snapshots) >= 2 * toy.gens - 1
    for i, snapshot in enumerate(snapshots):
        if "result.json" in snapshot:
            continue
        folder = tmp_path / f"snapshot{i}"
        for name, data in snapshot.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        resume(folder)
        assert outcome(folder) == outcome(tmp_path / "run")


def test_a_storage_that_fails_for_a_while_is_tried_again(
    toy: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "_EVERY_S", 0.0)
    monkeypatch.setattr("clso.run.training._SAVE_EVERY_S", 0.0)
    monkeypatch.setattr("clso.run.training._SAVE_SHARE", math.inf)
    put, n = Mirror._put, 0

    def sometimes(mirror: Mirror, name: str) -> None:
        nonlocal n
        n += 1
        if n in (2, 3, 5, 8):
            raise OSError("503 slow down")
        put(mirror, name)

    monkeypatch.setattr(Mirror, "_put", sometimes)
    evolve(toy, tmp_path / "run", sync=f"file://{tmp_path}/copy")
    assert n > 8
    assert files(tmp_path / "copy") == files(tmp_path / "run")


def test_a_storage_that_fails_at_the_end_is_an_error_and_the_run_is_whole(
    toy: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(mirror: Mirror, name: str) -> None:
        raise OSError("403 forbidden")

    monkeypatch.setattr(Mirror, "_put", never)
    with pytest.raises(RunFolderError, match=r"403 forbidden.*is whole in"):
        evolve(toy, tmp_path / "run", sync=f"file://{tmp_path}/copy")
    assert (tmp_path / "run" / "result.json").exists()


def test_a_place_that_is_taken_is_refused_before_the_run(
    toy: RunConfig, tmp_path: Path, url: str
) -> None:
    evolve(toy, tmp_path / "first", sync=url)
    with pytest.raises(RunFolderError, match="a new run needs a new place"):
        evolve(toy, tmp_path / "second", sync=url)
    assert not (tmp_path / "second").exists()


def test_what_cannot_be_a_place(toy: RunConfig, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a URL that fsspec knows"):
        evolve(toy, tmp_path / "run", sync="nothing://x")
    with pytest.raises(RunFolderError, match=r"lies on a file system.*--sync"):
        evolve(toy, Path("s3://bucket/run"))
    with pytest.raises(RunFolderError, match="the URL holds a run"):
        fetch(f"file://{tmp_path}/empty", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_protocol_without_its_package_says_which(tmp_path: Path) -> None:
    pytest.importorskip("fsspec")
    try:
        import s3fs  # noqa: F401
    except ImportError:
        with pytest.raises(MissingDependencyError, match="s3fs"):
            Mirror(tmp_path, "s3://bucket/run")
    else:
        pytest.skip("s3fs is installed")


@pytest.mark.parametrize("key", ["best/../../../OUT", "../OUT", "best//../../OUT", "link/OUT"])
def test_a_copy_never_writes_outside_its_folder(tmp_path: Path, key: str) -> None:
    """Whoever can write to the storage must not write anywhere else."""
    memory = fsspec.filesystem("memory")
    folder = tmp_path / "in" / "run"
    folder.mkdir(parents=True)
    (folder / "link").symlink_to(tmp_path)
    try:
        memory.pipe("/b/run/config.toml", b'space = "nk"')
        memory.store[f"/b/run/{key}"] = MemoryFile(memory, f"/b/run/{key}", b"x")
        with pytest.raises(RunFolderError, match="files of its folder only"):
            fetch("memory://b/run", folder)
    finally:
        memory.store.clear()
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == []
