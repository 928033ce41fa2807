"""How OpenMP threads wait: what its runtime says of itself once torch has loaded it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

_SHOW = "import sys; sys.argv = ['clso', 'doctor']; from clso.cli import main; main()"


@pytest.mark.parametrize(("set_by_user", "policy"), [(None, "PASSIVE"), ("ACTIVE", "ACTIVE")])
def test_a_commands_threads_wait_passively_unless_the_user_says_otherwise(
    set_by_user: str | None, policy: str
) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_WAIT_POLICY"}
    environment |= {"OMP_DISPLAY_ENV": "TRUE"} | (
        {} if set_by_user is None else {"OMP_WAIT_POLICY": set_by_user}
    )
    done = subprocess.run(
        [sys.executable, "-c", _SHOW], env=environment, capture_output=True, text=True, check=True
    )
    if "OMP_WAIT_POLICY" not in done.stderr:
        pytest.skip("this torch has no OpenMP runtime that tells its settings")
    shown = [
        line.split("=")[1].strip(" '")
        for line in done.stderr.splitlines()
        if "OMP_WAIT_POLICY" in line
    ]
    assert set(shown) == {policy}
