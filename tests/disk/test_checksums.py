"""A finished folder is what its run wrote: one damaged file is refused, by name."""

from __future__ import annotations

import json
import logging
import random
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from damage import flip_bit, without_checksums

from clso.disk.checksums import require_written, seal
from clso.errors import RunFolderError
from clso.report.reading import read_run
from clso.run import resume
from clso.run.compare import compare_runs
from clso.run.export import export_run
from clso.run.finished import evaluate_run
from clso.run.folder import RunFolder

READERS: dict[str, Callable[[Path], Any]] = {
    "evaluate": evaluate_run,
    "export": lambda run: export_run(run, run.parent / "export"),
    "report": lambda run: read_run(run, []),
    "compare": lambda run: compare_runs(run, [run]),
    "resume": resume,
}
READ = {
    "evaluate": (
        "config.toml",
        "manifest.json",
        "result.json",
        "best/config.json",
        "best/model.safetensors",
    ),
    "export": (
        "config.toml",
        "manifest.json",
        "result.json",
        "best/config.json",
        "best/model.safetensors",
    ),
    "report": ("config.toml", "manifest.json", "result.json", "records.jsonl"),
    "compare": ("manifest.json", "result.json"),
    "resume": ("result.json",),
}


@pytest.fixture
def run(finished_run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished_run, tmp_path / "run"))


@pytest.mark.parametrize(
    ("command", "name"), [(c, name) for c, names in READ.items() for name in names]
)
def test_one_flipped_bit_is_refused_and_the_file_is_named(
    run: Path, command: str, name: str
) -> None:
    rng = random.Random(f"{command} {name}")
    whole = (run / name).read_bytes()
    for _ in range(8):
        flip_bit(run / name, rng.randrange(8 * len(whole)))
        with pytest.raises(Exception, match=name.rpartition("/")[2]) as caught:
            READERS[command](run)
        assert type(caught.value).__module__ == "clso.errors"
        (run / name).write_bytes(whole)
    READERS[command](run)


def test_a_file_that_the_run_did_not_write_is_refused(run: Path) -> None:
    (run / "best" / "pointer.json").write_text("{}")  # would make another model of the same weights
    with pytest.raises(RunFolderError, match=r"pointer\.json is what the run wrote.*did not write"):
        evaluate_run(run)
    (run / "best" / "pointer.json").unlink()
    (run / "best" / "model.safetensors").unlink()
    with pytest.raises(RunFolderError, match="no such file"):
        evaluate_run(run)


def test_another_runs_winner_is_refused(run: Path, tmp_path: Path) -> None:
    data = bytearray((run / "best" / "model.safetensors").read_bytes())
    data[-4:] = b"\0\0\0\0"
    (run / "best" / "model.safetensors").write_bytes(data)
    with pytest.raises(RunFolderError, match=r"model\.safetensors"):
        export_run(run, tmp_path / "hf")
    assert not (tmp_path / "hf").exists()


def test_checksums_that_were_removed_are_missed(run: Path) -> None:
    (run / "SHA256SUMS").unlink()
    with pytest.raises(RunFolderError, match="SHA256SUMS"):
        compare_runs(run, [run])


def test_a_folder_of_an_earlier_version_is_read_with_one_line(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_checksums(run)
    with caplog.at_level(logging.WARNING, logger="clso"):
        logging.getLogger("clso").addHandler(caplog.handler)
        try:
            evaluate_run(run)
            read_run(run, [])
        finally:
            logging.getLogger("clso").removeHandler(caplog.handler)
    lines = {record.getMessage() for record in caplog.records}
    assert [line for line in lines if "carries no checksums" in line] == [*lines]
    assert len(lines) == 1


def test_a_loss_that_is_not_the_recorded_one_is_said(
    run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    without_checksums(run)
    result = json.loads((run / "result.json").read_text())
    result["best"]["test_loss"] -= 0.5
    (run / "result.json").write_text(json.dumps(result))
    logging.getLogger("clso").addHandler(caplog.handler)
    try:
        found = evaluate_run(run)
    finally:
        logging.getLogger("clso").removeHandler(caplog.handler)
    assert found["loss"] == pytest.approx(found["recorded_loss"] + 0.5)
    assert any("recorded on test" in record.getMessage() for record in caplog.records)


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="sha256sum is not installed")
def test_coreutils_reads_the_checksums(run: Path) -> None:
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"], cwd=run, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) >= 6


def test_any_name_of_a_file_is_kept(tmp_path: Path) -> None:
    (tmp_path / "best").mkdir()
    for name in ("a b", "c\nd", "e\\f", "g\\nh", "ü"):
        (tmp_path / "best" / name).write_text(name)
    seal(tmp_path, b"x")
    require_written(tmp_path, "best/")
    (tmp_path / "best" / "c\nd").write_text("other")
    with pytest.raises(RunFolderError, match="other bytes"):
        require_written(tmp_path, "best/")


def test_checksums_that_are_damaged(run: Path) -> None:
    (run / "SHA256SUMS").write_text("no checksum\n")
    with pytest.raises(RunFolderError, match="SHA256SUMS is whole"):
        RunFolder.open(run).read_result()
