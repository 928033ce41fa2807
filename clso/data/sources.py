"""Where text comes from: a data SPEC -> files of UTF-8 text.

SPEC is `python-stdlib`, `text:PATH` (file, .gz, folder, or folder with train/valid/test files),
`wikitext-103` or `wikitext-2`.
"""

from __future__ import annotations

import codecs
import difflib
import gzip
import os
import sysconfig
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clso.data.hub import HUB_CONFIGS, read_hub
from clso.errors import DataError

__all__ = ["Progress", "Source", "TextFile", "read_source"]

Progress = Callable[[str], None]

STDLIB_MAX_BYTES = 12_000_000
MAX_UNDECODABLE = 0.01  # share of characters; above it a file counts as binary

# Tests and the IDE are left out: they are far from the rest in style, and distributions ship them or not.
_STDLIB_SKIP = frozenset(
    ["site-packages", "dist-packages", "test", "tests", "idle_test", "idlelib", "lib2to3", "__pycache__"]
)
_ROLES = {
    "train": "train",
    "valid": "valid",
    "validation": "valid",
    "val": "valid",
    "dev": "valid",
    "test": "test",
}
_TEXT_SUFFIXES = (".gz", ".txt", ".text", ".md", ".tokens", ".raw")


@dataclass(frozen=True)
class TextFile:
    """One file: its name within the source, its text as valid UTF-8 bytes, and its split if that is given."""

    name: str
    data: bytes
    role: str | None = None


@dataclass(frozen=True)
class Source:
    """The files of a data SPEC, in a fixed order. `layout` says how they become documents and splits."""

    layout: Literal["file", "folder", "splits"]
    files: tuple[TextFile, ...]
    description: str


def read_source(spec: str, progress: Progress) -> Source:
    """Read every file that `spec` names.

    Raises:
        DataError: unknown SPEC, missing or unreadable path, empty or binary text, broken .gz, no hub.
        MissingDependencyError: a hub data set without the optional extra.
    """
    if spec == "python-stdlib":
        source = _python_stdlib(Path(sysconfig.get_path("stdlib")))
    elif spec.startswith("text:"):
        if spec == "text:":
            raise DataError("text:PATH needs a path", got=spec, remedy="Name a file or folder after 'text:'")
        source = _text(Path(spec.removeprefix("text:")).expanduser())
    elif spec in HUB_CONFIGS:
        progress(f"{spec}: reading from the Hugging Face hub")
        files = tuple(TextFile(role, data, role) for role, data in read_hub(spec).items())
        source = Source("splits", files, spec)
    else:
        raise DataError("data is python-stdlib, text:PATH, wikitext-103 or wikitext-2", got=spec, remedy=_nearest(spec))
    if not any(file.data.strip() for file in source.files):
        raise DataError("the text is empty", got=spec, remedy="Name a file or folder that holds text")
    n_bytes = sum(len(file.data) for file in source.files)
    progress(f"{source.description}: {len(source.files)} file(s), {n_bytes / 1e6:.1f} MB")
    return source


def _nearest(spec: str) -> str:
    if Path(spec).expanduser().exists():
        return f"Did you mean 'text:{spec}'?"
    names = {name.lower(): name for name in ("python-stdlib", "text:PATH", *HUB_CONFIGS)}
    near = difflib.get_close_matches(spec.lower(), names, n=1, cutoff=0.5)
    return f"Did you mean {names[near[0]]!r}?" if near else ""


def _python_stdlib(root: Path) -> Source:
    """The .py files of the standard library at `root` by sorted path, until `STDLIB_MAX_BYTES` are taken."""
    files: list[TextFile] = []
    room = STDLIB_MAX_BYTES
    for name in _walk(root, _STDLIB_SKIP):
        if not name.endswith(".py"):
            continue
        raw = _read(root / name)
        # A declared other encoding is as good as undecodable here: such files are a handful of code tables.
        if not raw or len(raw) > room or not _is_utf8(raw):
            continue
        room -= len(raw)
        files.append(TextFile(name, raw))
    if not files:
        raise DataError(
            "python-stdlib needs the standard library's .py files",
            got=str(root),
            remedy="This Python ships without them: use --data text:PATH",
        )
    return Source("folder", tuple(files), f"python-stdlib ({root}, without tests, idlelib and lib2to3)")


def _text(path: Path) -> Source:
    if path.is_dir():
        return _folder(path)
    if not path.exists():
        raise DataError("no such file or folder", got=str(path), remedy="Check the path after 'text:'")
    if not path.is_file():
        raise DataError("text:PATH is a regular file or a folder", got=str(path))
    data = _as_utf8(_read(path))
    if data is None:
        raise DataError("the file is binary or not UTF-8", got=str(path), remedy="Convert it to UTF-8 text")
    return Source("file", (TextFile(path.name, data),), f"text:{path}")


def _folder(root: Path) -> Source:
    names = list(_walk(root, frozenset({"__pycache__"})))
    roles = {name: role for name in names if (role := _role(name)) is not None}
    given = set(roles.values())
    if "train" in given and len(given) > 1:
        missing = sorted({"train", "valid", "test"} - given)
        if missing:
            raise DataError(
                "a folder with split files needs train, valid and test",
                got=f"{root} without {', '.join(missing)}",
                remedy="Add the file, or name the text file itself to have it split",
            )
        files = tuple(_text_files(root, roles, roles))
        for role in sorted(given):
            if not any(file.data.strip() for file in files if file.role == role):
                raise DataError(f"the {role} text is empty, binary or not UTF-8", got=str(root))
        return Source("splits", files, f"text:{root} (train, valid and test given)")
    files = tuple(_text_files(root, names, {}))
    if not files:
        raise DataError("the folder holds no text files", got=str(root), remedy="Name a folder of UTF-8 files")
    return Source("folder", files, f"text:{root}")


def _text_files(root: Path, names: Iterable[str], roles: dict[str, str]) -> Iterator[TextFile]:
    """The files among `names` that hold text: in a folder, others (pictures, archives) are passed over."""
    for name in names:
        data = _as_utf8(_read(root / name))
        if data:
            yield TextFile(name, data, roles.get(name))


def _role(name: str) -> str | None:
    """`train.txt.gz`, `wiki.train.tokens`, `train/a.txt` -> "train"; None where the name is no split's."""
    first, _, rest = name.partition("/")
    if rest:
        return _ROLES.get(first.lower())
    stem = first.lower()
    while stem.endswith(_TEXT_SUFFIXES):
        stem = stem.rpartition(".")[0]
    return _ROLES.get(stem.rpartition(".")[2])


def _walk(root: Path, skip: frozenset[str]) -> Iterator[str]:
    """Relative POSIX paths of regular files under `root` in sorted order, hidden ones left out."""
    names = []
    for folder, folders, files in os.walk(root):
        folders[:] = [name for name in folders if name not in skip and not name.startswith(".")]
        paths = (Path(folder, name) for name in files if not name.startswith("."))
        names += [path.relative_to(root).as_posix() for path in paths if path.is_file()]
    yield from sorted(names)


def _read(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise DataError("a .gz file must hold whole gzip data", got=str(path), remedy=f"It is not ({error})") from error
    except OSError as error:
        raise DataError("the file cannot be read", got=str(path), remedy=error.strerror or str(error)) from error


def _is_utf8(raw: bytes) -> bool:
    """Whether `raw` decodes, looked at piece by piece so that the decoded text is never held whole."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    step = 1 << 24
    try:
        for start in range(0, len(raw), step):
            decoder.decode(raw[start : start + step])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return b"\0" not in raw


def _as_utf8(raw: bytes) -> bytes | None:
    """`raw` as valid UTF-8 (few bad bytes become U+FFFD, a byte order mark goes); None if it is no text."""
    if b"\0" in raw:
        return None
    raw = raw.removeprefix(codecs.BOM_UTF8)
    if _is_utf8(raw):
        return raw
    text = raw.decode("utf-8", errors="replace")
    return None if text.count("\ufffd") > MAX_UNDECODABLE * len(text) else text.encode()
