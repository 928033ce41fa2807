"""The folder of cached token files: one sub-folder a corpus, valid only with its sidecar
`corpus.json`."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from clso.disk.files import FileCheck, check_file, read_regular, write_bytes
from clso.disk.parsing import parse_json
from clso.errors import DataError

__all__ = [
    "Sidecar",
    "cache_folder",
    "cache_root",
    "read_sidecar",
    "warn_of_damage",
    "write_errors",
    "write_sidecar",
]

_SIDECAR = "corpus.json"
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sidecar:
    """What `corpus.json` holds. It is written last, so that its presence means a finished
    corpus."""

    vocab_size: int
    content_hash: str
    n_documents: dict[str, int]
    n_tokens: dict[str, int]
    files: dict[str, FileCheck]


def cache_root(cache_dir: str | Path | None) -> Path:
    """`cache_dir`, else $CLSO_CACHE, else ~/.cache/clso."""
    return Path(cache_dir or os.environ.get("CLSO_CACHE") or "~/.cache/clso").expanduser()


def cache_folder(cache_dir: str | Path | None, key: str) -> Path:
    """The sub-folder of a corpus in the cache."""
    return cache_root(cache_dir) / "corpora" / key[:32]


def read_sidecar(folder: Path) -> Sidecar | None:
    """The sidecar of a whole corpus, or None if there is none, or, with a warning, if anything is
    not as it was written."""
    path = folder / _SIDECAR
    try:
        fields = parse_json(read_regular(path))
        if fields.pop("sha256") != _digest(fields):
            raise ValueError("other fields")
        fields["files"] = {name: FileCheck(**check) for name, check in fields["files"].items()}
        sidecar = Sidecar(**fields)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        warn_of_damage(path)
        return None
    for name, check in sidecar.files.items():
        if check_file(folder / name) != check:
            warn_of_damage(folder / name)
            return None
    return sidecar


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write `sidecar` atomically; every file it names must be in place."""
    fields = asdict(sidecar)
    write_bytes(
        folder / _SIDECAR,
        json.dumps({**fields, "sha256": _digest(fields)}, indent=1, sort_keys=True).encode(),
    )


def _digest(fields: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()


def warn_of_damage(path: Path) -> None:
    """Say in one line that a cached file is not used as it is."""
    _log.warning(
        "the cached file %s is damaged, or of another version of CLSO: it is made anew", path
    )


@contextmanager
def write_errors(folder: Path) -> Iterator[None]:
    """Turn the system's errors while writing into one line for the user.

    Raises:
        DataError: no space, no permission, not a folder, ...
    """
    try:
        yield
    except OSError as error:
        raise DataError(
            "the token cache cannot be written",
            got=str(folder),
            remedy=f"{error.strerror or error}: set CLSO_CACHE to a folder with space",
        ) from error
