"""The folder of a private Ray is its user's alone, and goes with the process that made it, however
that ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from clso.evaluation.ray_folder import SessionFolder

DRIVER = """
import signal, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell's background jobs ignore
from clso.evaluation.ray_folder import SessionFolder
folder = SessionFolder()
(folder.path / "log").touch()
print(folder.path, flush=True)
time.sleep(60)
"""


def test_it_is_private_and_goes_when_it_is_closed() -> None:
    folder = SessionFolder()
    assert folder.path.parent.stat().st_mode & 0o777 == 0o700
    folder.close()
    assert not folder.path.parent.exists()


def test_logs_that_tell_of_a_death_are_kept() -> None:
    folder = SessionFolder()
    folder.close(keep=True)
    assert folder.path.is_dir()
    folder.path.rmdir()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_it_goes_with_a_process_that_is_killed(how: signal.Signals) -> None:
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    assert driver.stdout is not None
    folder = Path(driver.stdout.readline().strip())
    assert (folder / "log").exists()
    driver.send_signal(how)
    driver.wait(timeout=60)
    driver.stdout.close()
    wait_for(lambda: not folder.exists(), "the end of the folder")


def test_a_long_path_would_not_hold_a_socket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("x" * 60)))
    folder = SessionFolder()
    folder.close()
    assert len(str(folder.path)) < 40
