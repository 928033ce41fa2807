"""The folder of cached token files: one sub-folder a corpus, valid only with its sidecar `corpus.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from clso.data.tokenfile import FileCheck, check_file, write_bytes
from clso.errors import DataError

__all__ = ["Sidecar", "cache_folder", "cache_root", "read_sidecar", "write_errors", "write_sidecar"]

_SIDECAR = "corpus.json"


@dataclass(frozen=True)
class Sidecar:
    """What `corpus.json` holds. It is written last, so that its presence means a finished corpus."""

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
    """The sidecar of a whole corpus, or None where anything is missing or differs from what was written."""
    try:
        fields = json.loads((folder / _SIDECAR).read_bytes())
        fields["files"] = {name: FileCheck(**check) for name, check in fields["files"].items()}
        sidecar = Sidecar(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
    whole = all(check_file(folder / name) == check for name, check in sidecar.files.items())
    return sidecar if whole and sidecar.files else None


def write_sidecar(folder: Path, sidecar: Sidecar) -> None:
    """Write `sidecar` atomically; every file it names must be in place."""
    write_bytes(folder / _SIDECAR, json.dumps(asdict(sidecar), indent=1, sort_keys=True).encode())


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
