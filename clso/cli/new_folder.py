"""The folder that a command writes to if none was named."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from clso.disk.files import writing

__all__ = ["claimed", "new_folder", "require_writable"]


@contextmanager
def new_folder(out: Path | None, name: str) -> Iterator[Path]:
    """`out`, or a new empty folder in runs/local, which goes again if an error leaves it empty.

    It is made here, so that of two commands in one second each has its own.
    """
    if out is not None:
        yield out
        return
    parent = Path("runs") / "local"
    made = [path for path in (parent, parent.parent) if not path.exists()]
    folder = _claimed(parent / f"{datetime.now():%Y-%m-%d_%H-%M-%S}_{name}")
    try:
        yield folder
    except BaseException:
        with suppress(OSError):
            for path in (folder, *made):
                if path.exists():  # a run that could not begin has removed its own
                    path.rmdir()
        raise


@contextmanager
def claimed(out: Path | None) -> Iterator[None]:
    """Make `out` before the work whose result goes there, which a folder that cannot be written would
    lose; it goes again if an error leaves it empty.

    Raises `RunFolderError`."""
    if out is None:
        yield
        return
    made = [path for path in (out, *out.parents) if not path.exists()]
    try:
        with writing("the folder can be made", out):
            out.mkdir(parents=True, exist_ok=True)
        require_writable(out / f".{os.getpid()}.tmp")
        yield
    except BaseException:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        raise


def require_writable(file: Path) -> None:
    """Raises `RunFolderError` if `file` could not be written later; it is left as it is. A pipe or
    device is not tried."""
    is_new = not file.exists()
    if not is_new and not file.is_file():
        return
    with writing("a file can be written", file, "Choose another one."):
        file.open("ab").close()
        if is_new:
            file.unlink()


def _claimed(path: Path) -> Path:
    with writing("a run folder can be made", path, "Choose one with --out."):
        path.parent.mkdir(parents=True, exist_ok=True)
        for number in itertools.count(1):
            folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
            with suppress(FileExistsError):
                folder.mkdir()
                return folder
    raise AssertionError("there is always a next number")
