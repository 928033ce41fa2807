"""`SHA256SUMS`: what ties the files of a finished folder to the run that wrote them. `sha256sum -c
SHA256SUMS` reads it, too.

It is written before `result.json`, whose hash it holds, so that a finished folder has it. Folders
of versions before it have none, and are read as they are."""

from __future__ import annotations

import hashlib
import logging
import re
from functools import cache
from pathlib import Path

from clso.disk.files import check_file, read_regular, sync_file, write_bytes
from clso.errors import RunFolderError

__all__ = ["SUMS", "is_sealed", "require_written", "seal"]

SUMS = "SHA256SUMS"
# the first has a hash of its own, the second is drawn anew, the third is closed behind the result
_CHANGING = (
    "checkpoint.json",
    "report",
    "tensorboard",
    SUMS,
)
_ESCAPED = {"n": "\n", "r": "\r"}
_log = logging.getLogger(__name__)


def seal(folder: Path, result: bytes) -> None:
    """Write the hashes of all files in `folder`, and of the `result` that will be its
    result.json."""
    sums = {"result.json": hashlib.sha256(result).hexdigest()}
    for name in _names(folder):
        check = check_file(folder / name)
        if name != "result.json" and check is not None:
            sync_file(folder / name)
            sums[name] = check.sha256
    write_bytes(folder / SUMS, b"".join(_line(name, sums[name]) for name in sorted(sums)))


def require_written(folder: Path, *names: str) -> None:
    """Nothing if these files are what the run wrote. A name that ends in `/` is a whole sub-folder,
    with no other file.

    Raises `RunFolderError` naming the file that is not. A folder without checksums passes, with one
    line that says so."""
    sums = _read(folder)
    if sums is None:
        _say_unsealed(folder)
        return
    found = _names(folder)
    for wanted in names:
        is_folder = wanted.endswith("/")
        both = [*found, *sums] if is_folder else [wanted]
        for name in sorted({n for n in both if n.startswith(wanted)} if is_folder else both):
            if name not in sums:
                raise _changed(folder / name, "a file that the run did not write")
            check = check_file(folder / name)
            if check is None:
                raise _changed(folder / name, "no such file")
            if check.sha256 != sums[name]:
                raise _changed(folder / name, "other bytes")


def is_sealed(folder: Path) -> bool:
    """Whether `folder` has checksums. Raises `RunFolderError` if they cannot be read."""
    return _read(folder) is not None


def _changed(path: Path, got: str) -> RunFolderError:
    return RunFolderError(
        f"{path} is what the run wrote, as {SUMS} says",
        got=got,
        remedy="It was changed, damaged or comes from another run: put it back, or run anew.",
    )


def _read(folder: Path) -> dict[str, str] | None:
    path = folder / SUMS
    try:
        text = read_regular(path).decode(errors="surrogateescape")
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise RunFolderError(f"{path} is whole", problem=f"it cannot be read ({error})") from error
    sums = {}
    for line in text.removesuffix("\n").split("\n"):
        digest, _, name = line.partition("  ")
        if len(digest.removeprefix("\\")) != 64 or not name:
            raise RunFolderError(
                f"{path} is whole", problem="a line is no hash and name", got=line[:100]
            )
        if digest.startswith("\\"):
            digest, name = digest[1:], re.sub(r"\\(.)", lambda m: _ESCAPED.get(m[1], m[1]), name)
        sums[name] = digest
    return sums


def _line(name: str, digest: str) -> bytes:
    """As coreutils writes it; a name with a line end or a backslash is escaped, and its line begins
    with a backslash."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{digest}  {escaped}\n".encode(
        errors="surrogateescape"
    )


def _names(folder: Path) -> list[str]:
    """Files in `folder` and below, relative; no hidden ones (locks, half-written files), and none
    that may change."""
    relative = (p.relative_to(folder) for p in folder.rglob("*") if not p.is_dir())
    return [
        p.as_posix() for p in relative if p.parts[0] not in _CHANGING and not p.name.startswith(".")
    ]


@cache
def _say_unsealed(folder: Path) -> None:
    _log.warning(
        "%s carries no checksums (an earlier version of CLSO wrote it): its files are read as they are",
        folder,
    )
