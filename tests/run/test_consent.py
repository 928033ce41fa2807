"""A folder that came from others runs nothing of its own, and joins nothing, unless the user
agrees."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from ray_runs import TESTS
from stopping import StopAfter

from clso.config import RunConfig
from clso.errors import ClsoError, RunFolderError
from clso.run import evolve, resume
from clso.run.context import workers_to_resume
from clso.run.folder import RunFolder
from clso.search.generations import Interrupted

SPY = "from pathlib import Path\nPath({!r}).touch()\n"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "clso" / "plugin-files"


@pytest.mark.parametrize("key", ["space", "surrogate", "task"])
def test_code_of_a_foreign_folder_runs_only_with_trust(
    tmp_path: Path, state: Path, key: str
) -> None:
    run, ran = tmp_path / "run", tmp_path / "ran"
    run.mkdir()
    (run / "evil.py").write_text(SPY.format(str(ran)))
    space = 'space = "nsm"\n' if key == "task" else ""
    (run / "config.toml").write_text(f'{space}{key} = "{run}/evil.py:X"\n')
    (run / "records.jsonl").write_text('{"kept": 1}\n')
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(RunFolderError, match=r"evil\.py \(SHA-256 .*--trust"):
        resume(run)
    assert not ran.exists()
    assert not state.exists()
    assert {p.name: p.read_bytes() for p in run.iterdir() if p.name != ".lock"} == before
    with pytest.raises(ClsoError, match="no class or function X"):
        resume(run, trust=True)
    assert ran.exists()


def test_a_users_own_run_goes_on_unasked_until_its_file_changes(
    tiny: RunConfig, tmp_path: Path, state: Path
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text((TESTS / "toys.py").read_text())
    config = replace(tiny, space=f"{plugin}:OneMax", surrogate="none", options={})
    stop = StopAfter(2)
    with pytest.raises(Interrupted):
        evolve(config, tmp_path / "run", listener=stop, stop=stop)
    assert json.loads(state.read_text())["path"] == str(plugin)
    assert state.stat().st_mode & 0o077 == 0
    whole = plugin.read_text()
    plugin.write_text(whole + "\n# changed\n")
    with pytest.raises(RunFolderError, match="--trust"):
        resume(tmp_path / "run")
    plugin.write_text(whole)
    assert resume(tmp_path / "run")["counts"]["generations"] == tiny.gens


def test_a_record_that_cannot_be_written_stops_no_run(
    tiny: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    evolve(
        replace(tiny, space=f"{TESTS / 'toys.py'}:OneMax", surrogate="none", options={}),
        tmp_path / "run",
    )


def test_a_cluster_that_a_folder_names_is_joined_only_if_asked(tmp_path: Path) -> None:
    folder = RunFolder.create(tmp_path / "run", RunConfig())
    folder.write_json("manifest.json", {"workers": {"ray": "evil.example:6379", "timeout_s": 60.0}})
    folder.close()
    with pytest.raises(RunFolderError, match=r"evil\.example:6379.*--ray ADDRESS"):
        resume(tmp_path / "run")
    with pytest.raises(RunFolderError, match="only if you say so"):
        workers_to_resume(folder, gpus=1.0)
    here = workers_to_resume(folder, n=2)
    assert (here.n, here.ray, here.timeout_s) == (2, "", 60.0)
    assert workers_to_resume(folder, ray="10.0.0.1:6379").ray == "10.0.0.1:6379"
    assert workers_to_resume(folder, trust=True).ray == "evil.example:6379"
