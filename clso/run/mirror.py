"""A copy of a run folder in object storage, kept up to date while the run goes on: `--sync
s3://bucket/run`.

The run itself writes to a local folder, where appending and renaming are what they should be. Every
`_EVERY_S` seconds, after a checkpoint, what has changed is copied; a checkpoint follows the record
that it belongs to, so that the copy can be resumed from at any moment. Any URL of fsspec will do
(s3://, gs://, az://, file://)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from clso.errors import ConfigError, MissingDependencyError, RunFolderError
from clso.run.folder import RunFolder

__all__ = ["Mirror", "fetch", "mirrored"]

_EVERY_S = 30.0
# they vouch for the other files, so they are copied after them
_LAST = (
    "checkpoint.json",
    "result.json",
)


class Mirror:
    """Copies `folder` to `url`.

    Raises:
        ConfigError: no such protocol, or a URL that cannot be read.
        MissingDependencyError: the protocol needs a package that is not installed.
    """

    def __init__(self, folder: Path, url: str) -> None:
        import fsspec

        self._folder, self._url = folder, url
        try:
            self._files, self._root = fsspec.core.url_to_fs(url)
        except ImportError as error:
            raise MissingDependencyError(
                f"{url.partition(':')[0]}:// needs its package", remedy=str(error)
            ) from error
        except ValueError as error:
            raise ConfigError(
                "--sync is a URL that fsspec knows", got=url, remedy=str(error)
            ) from error
        self._copied: dict[str, tuple[int, int]] = {}  # name -> size and time of change
        self._begun_s = -_EVERY_S

    def require_new(self) -> None:
        """Raises `RunFolderError` if the URL holds a run."""
        if self._do(lambda: self._files.exists(f"{self._root}/config.toml")):
            raise RunFolderError(
                "a new run needs a new place",
                got=self._url,
                remedy=f"Continue that run with `clso resume DIR --sync {self._url}`.",
            )

    def tick(self) -> None:
        """Copy what has changed, at most every `_EVERY_S` seconds. What fails is tried again at the
        next time."""
        now_s = time.monotonic()
        if now_s - self._begun_s >= _EVERY_S:
            self._begun_s = now_s
            with suppress(RunFolderError):
                self.push()

    def push(self) -> None:
        """Copy what has changed. Raises `RunFolderError` if the storage refuses it."""
        names = [
            p.relative_to(self._folder).as_posix() for p in self._folder.rglob("*") if p.is_file()
        ]
        for name in sorted(names, key=lambda n: (_LAST.index(n) + 1 if n in _LAST else 0, n)):
            if _is_hidden(name):
                continue
            status = (self._folder / name).stat()
            if self._copied.get(name) != (status.st_size, status.st_mtime_ns):
                self._do(partial(self._put, name))
                self._copied[name] = status.st_size, status.st_mtime_ns

    def fetch(self) -> None:
        """Make the folder from the copy. Raises `RunFolderError` if there is none."""
        root = self._root.rstrip("/") + "/"
        keys = [str(key) for key in self._do(lambda: self._files.find(self._root)) or ()]
        found = {
            key.removeprefix(root): key for key in keys if not _is_hidden(key.removeprefix(root))
        }
        if "config.toml" not in found:
            raise RunFolderError("the URL holds a run", got=self._url, remedy="Check it.")
        targets = {name: self._target(name) for name in found}
        # The settings come last: a folder that has them counts as whole, and is not fetched again.
        for name in sorted(targets, key=lambda name: (name == "config.toml", name)):
            targets[name].parent.mkdir(parents=True, exist_ok=True)
            self._do(partial(self._files.get_file, found[name], str(targets[name])))

    def _target(self, name: str) -> Path:
        """Where a key of the storage is written to: whoever writes there must not write anywhere
        else here."""
        parts = name.split("/")
        target = self._folder.joinpath(*parts)
        is_plain = all(part not in ("", ".", "..") and "\0" not in part for part in parts)
        if not is_plain or not target.resolve().is_relative_to(self._folder.resolve()):
            raise RunFolderError(
                "a copy of a run holds files of its folder only",
                problem=f"{self._url} holds {name!r}, which would lie outside it",
                remedy="Somebody else wrote there: nothing was fetched.",
            )
        return target

    def _put(self, name: str) -> None:
        target = f"{self._root}/{name}"
        self._files.makedirs(target.rpartition("/")[0], exist_ok=True)
        self._files.put_file(str(self._folder / name), target)

    def _do(self, action: Callable[[], Any]) -> Any:
        try:
            return action()
        except Exception as error:  # every storage has errors of its own
            raise RunFolderError(
                "a copy needs storage that answers",
                problem=f"{self._url} failed ({type(error).__name__}: {error})",
                remedy=f"What the run has written is whole in {self._folder}.",
            ) from error


def _is_hidden(name: str) -> bool:
    """Locks, half-written files, and the markers of folders that some storages list."""
    return name.endswith("/") or any(
        part.startswith(".") and part.strip(".") for part in name.split("/")
    )


def fetch(url: str, folder: Path) -> None:
    """Bring a run from `url` to `folder`, unless there is one already."""
    if not (folder / "config.toml").exists():
        Mirror(folder, url).fetch()


@contextmanager
def mirrored(folder: RunFolder, url: str) -> Iterator[None]:
    """Keep a copy of the folder at `url` during the body and after it; with an empty URL,
    nothing."""
    if not url:
        yield
        return
    mirror = Mirror(folder.path, url)
    folder.on_checkpoint = mirror.tick
    try:
        yield
    except BaseException:
        if (folder.path / "checkpoint.json").exists():  # else there is nothing to go on with
            with suppress(RunFolderError):  # the first error is the one to be shown
                mirror.push()
        raise
    mirror.push()
