"""The folder of a private Ray: its sockets, logs and spilled objects. Only its user can look in,
and it goes with the run."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

__all__ = ["SessionFolder"]

_LONGEST = 24  # letters of the folder that it lies in: a socket's whole path has at most 107
# Waits for the end of its stdin, which the death of this process brings, however it dies; Ray's
# processes follow.
_SWEEP = """
read -r word; [ "$word" = keep ] && exit
for i in 1 2 3 4 5 6 7 8 9 10; do rm -rf -- "$1"; sleep 1; [ -e "$1" ] || exit; done
"""


class SessionFolder:
    """`path`, in a new folder of mode 0700: Ray opens its own folder to all, so that lies in one
    that it does not know of. Besides `close`, a small process removes both when this one dies."""

    def __init__(self) -> None:
        base = tempfile.gettempdir()
        self._private = Path(
            tempfile.mkdtemp(prefix="clso-", dir=base if len(base) <= _LONGEST else "/tmp")
        )
        self.path = self._private / "r"
        self.path.mkdir()
        self._sweeper = subprocess.Popen(
            ["/bin/sh", "-c", _SWEEP, "sh", str(self._private)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for this process
        )

    def close(self, *, keep: bool = False) -> None:
        """Remove the folder, or `keep` it for somebody to read its logs."""
        if not keep:
            shutil.rmtree(self._private, ignore_errors=True)
        assert self._sweeper.stdin is not None
        with suppress(OSError):
            self._sweeper.stdin.write(b"keep\n" if keep or not self._private.exists() else b"\n")
            self._sweeper.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._sweeper.wait(timeout=0.5)
