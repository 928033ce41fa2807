from __future__ import annotations

import errno
import fcntl
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from clso.config import RunConfig
from clso.errors import RunFolderError
from clso.run.folder import RunFolder

STATE = {"ledger": {}, "clean": False, "rng": [1, 2.5e-17, -0.0, 1e300, "ä"]}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.create(tmp_path / "run", RunConfig())


def reopened(folder: RunFolder) -> RunFolder:
    folder.close()
    return RunFolder.open(folder.path)


def test_what_was_appended_is_read_back(folder: RunFolder) -> None:
    rows: list[dict[str, Any]] = [{"a": 1, "b": None}, {"c": [0.1, "ü\n"]}]
    folder.append(rows[:1])
    folder.append(rows[1:])
    assert list(reopened(folder).records()) == rows


def test_nan_is_no_json(folder: RunFolder) -> None:
    for write in (
        lambda: folder.append([{"a": float("nan")}]),
        lambda: folder.write_json("x.json", {"a": float("inf")}),
    ):
        with pytest.raises(ValueError, match="JSON compliant"):
            write()
    assert list(folder.records()) == []
    assert not (folder.path / "x.json").exists()


def test_a_torn_last_line_is_left_out_and_a_torn_middle_is_an_error(folder: RunFolder) -> None:
    folder.append([{"a": 1}])
    with (folder.path / "records.jsonl").open("a") as file:
        file.write('{"a": 2')
    assert list(folder.records()) == [{"a": 1}]
    with (folder.path / "records.jsonl").open("a") as file:
        file.write("\n")
    with pytest.raises(RunFolderError, match="is whole"):
        list(folder.records())
    (folder.path / "records.jsonl").write_text("[]\n")
    with pytest.raises(RunFolderError, match="no JSON object"):
        list(folder.records())


def test_a_checkpoint_cuts_off_what_came_after_it(folder: RunFolder) -> None:
    folder.append([{"a": 1}])
    folder.save_checkpoint(STATE)
    folder.append([{"a": 2}])
    again = reopened(folder)
    assert again.load_checkpoint() == STATE
    assert list(again.records()) == [{"a": 1}]
    again.append([{"a": 3}])
    again.save_checkpoint({**STATE, "clean": True})
    last = reopened(again)
    assert last.load_checkpoint() == {**STATE, "clean": True}
    assert list(last.records()) == [{"a": 1}, {"a": 3}]


def test_without_a_checkpoint_the_record_starts_anew(folder: RunFolder) -> None:
    folder.append([{"a": 1}])
    again = reopened(folder)
    assert again.load_checkpoint() is None
    assert list(again.records()) == []


def test_comments_in_config_are_free_and_settings_are_not(folder: RunFolder) -> None:
    folder.save_checkpoint(STATE)
    path = folder.path / "config.toml"
    path.write_text("# mine\n" + path.read_text())
    assert reopened(folder).load_checkpoint() == STATE
    path.write_text(path.read_text().replace("pop = 32", "pop = 33"))
    with pytest.raises(RunFolderError, match="belongs to"):
        reopened(folder).load_checkpoint()


def test_one_writer(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="one process"):
        RunFolder.open(folder.path).lock()
    folder.close()
    RunFolder.open(folder.path).lock()


def test_a_look_at_the_lock_refuses_no_writer(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.close()
    fd = os.open(folder.path / ".lock", os.O_RDONLY)
    fcntl.flock(fd, fcntl.LOCK_SH)  # as `is_being_written` does, for a moment
    monkeypatch.setattr(time, "sleep", lambda seconds: os.close(fd))  # which is then over
    again = RunFolder.open(folder.path)
    again.lock()
    assert RunFolder.open(folder.path).is_being_written
    again.close()
    assert not RunFolder.open(folder.path).is_being_written


def test_discarding_leaves_what_is_not_ours(folder: RunFolder) -> None:
    (folder.path / "notes.txt").write_text("mine")
    folder.discard()
    assert [p.name for p in folder.path.iterdir()] == ["notes.txt"]


def test_what_a_kill_leaves_before_the_settings_does_not_stand_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".lock").touch()
    RunFolder.create(tmp_path / "run", RunConfig()).close()
    with pytest.raises(RunFolderError, match="new folder"):
        RunFolder.create(tmp_path / "run", RunConfig())


@pytest.mark.parametrize("text", ["", "{", "[1]", "\udcff"])
def test_damaged_json(folder: RunFolder, text: str) -> None:
    (folder.path / "result.json").write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(RunFolderError, match=r"result\.json"):
        folder.read_json("result.json")


def test_missing_json_says_what_to_do(folder: RunFolder) -> None:
    with pytest.raises(RunFolderError, match="Let the run finish"):
        folder.read_json("result.json")


FULL_DISK = """
import errno, resource, signal, sys
from pathlib import Path
from clso.config import RunConfig
from clso.run.folder import RunFolder

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that grows over the limit then fails with an OSError
folder = RunFolder.create(Path(sys.argv[1]), RunConfig())
folder.append([{"a": "x" * 1000}])
folder.save_checkpoint({"n": 1})
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    folder.append([{"a": "y" * 10_000}])
except OSError as error:
    assert error.errno == errno.EFBIG
else:
    sys.exit("the record took more than fits")
try:
    folder.save_checkpoint({"n": 2, "big": "z" * 10_000})
except OSError:
    sys.exit(0)
sys.exit("the checkpoint took more than fits")
"""


@pytest.mark.skipif(
    not hasattr(resource, "RLIMIT_FSIZE"), reason="this system has no file size limit"
)
def test_a_write_that_does_not_fit_is_an_error_and_the_last_checkpoint_stays(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(tmp_path / "run")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert sorted(os.listdir(tmp_path / "run")) == [
        ".lock",
        "checkpoint.json",
        "config.toml",
        "records.jsonl",
    ]
    folder = RunFolder.open(tmp_path / "run")
    assert folder.load_checkpoint() == {"n": 1}
    assert [len(r["a"]) for r in folder.records()] == [1000]


def test_errors_name_the_folder_and_the_cause(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(RunFolderError) as caught:
        RunFolder.create(tmp_path / "file" / "run", RunConfig())
    assert os.strerror(errno.ENOTDIR) in str(caught.value)
    with pytest.raises(RunFolderError, match=os.strerror(errno.ENAMETOOLONG)):
        RunFolder.create(tmp_path / ("x" * 300), RunConfig())
    assert json.dumps([p.name for p in tmp_path.iterdir()]) == '["file"]'


def test_a_fifo_in_a_folder_is_refused_and_not_waited_for(folder: RunFolder) -> None:
    folder.close()
    for name in ("result.json", "manifest.json", "records.jsonl", "checkpoint.json", "config.toml"):
        path = folder.path / name
        kept = path.read_bytes() if path.exists() else None
        path.unlink(missing_ok=True)
        os.mkfifo(path)
        with pytest.raises(RunFolderError, match="regular file"):
            RunFolder.open(folder.path)
        path.unlink()
        if kept is not None:
            path.write_bytes(kept)


def test_rows_behind_a_checkpoint_stay_until_the_next_row(folder: RunFolder) -> None:
    folder.append([{"a": 1}])
    folder.save_checkpoint(STATE)
    folder.append([{"a": 2}])
    whole = (folder.path / "records.jsonl").read_bytes()
    again = reopened(folder)
    before = again.heads()
    again.load_checkpoint()
    again.save_checkpoint({**STATE, "clean": True})
    again.write_json("manifest.json", {})
    assert (folder.path / "records.jsonl").read_bytes() == whole
    again.put_back(before)
    assert {p.name for p in folder.path.iterdir()} == {
        ".lock",
        "checkpoint.json",
        "config.toml",
        "records.jsonl",
    }
    assert again.heads() == before
    again.append([{"a": 3}])
    again.put_back({})  # it has gone on, so that there is nothing to undo
    assert (folder.path / "checkpoint.json").exists()
    assert list(again.records()) == [{"a": 1}, {"a": 3}]
