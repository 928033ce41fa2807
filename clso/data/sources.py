"""Where text comes from: a data SPEC -> files of UTF-8 text.

SPEC is `python-stdlib`, `text:PATH` (file, .gz, folder, or folder with train/valid/test files),
`wikitext-103` or `wikitext-2`.
"""

from __future__ import annotations

import codecs
import os
import stat
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from clso.data.hub import HUB_CONFIGS, read_hub
from clso.data.reading import MAX_TEXT_BYTES, decode, read_file
from clso.data.roles import role_of
from clso.errors import DataError, did_you_mean

__all__ = ["Progress", "Source", "TextFile", "read_source"]

Progress = Callable[[str], None]

STDLIB_MAX_BYTES = 12_000_000

# Tests and the IDE are left out: they are far from the rest in style, and distributions ship them
# or not.
_STDLIB_SKIP = frozenset(
    [
        "site-packages",
        "dist-packages",
        "test",
        "tests",
        "idle_test",
        "idlelib",
        "lib2to3",
        "__pycache__",
    ]
)
LeftOut = dict[str, list[str]]  # reason -> names


@dataclass(frozen=True)
class TextFile:
    """One file: its name within the source, its text as valid UTF-8 bytes, and its split if that is
    given."""

    name: str
    data: bytes
    role: str | None = None


@dataclass(frozen=True)
class Source:
    """The files of a data SPEC, in a fixed order.

    Attributes:
        layout: how the files become documents and splits.
        left_out: names of what was found and not read, by the reason.
        notes: what else the user should know of how the files were read, a line each.
        whole_files: splits are compared by whole files only, not by passages.
    """

    layout: Literal["file", "folder", "splits"]
    files: tuple[TextFile, ...]
    description: str
    left_out: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    whole_files: bool = False


def read_source(spec: str, progress: Progress) -> Source:
    """Read every file that `spec` names.

    Raises:
        DataError: unknown SPEC, missing or unreadable path, empty or binary text, broken .gz, no
        hub.
        MissingDependencyError: a hub data set without the optional extra.
    """
    if spec == "python-stdlib":
        source = _python_stdlib(Path(sysconfig.get_path("stdlib")))
    elif spec.startswith("text:"):
        if spec == "text:":
            raise DataError(
                "text:PATH needs a path", got=spec, remedy="Name a file or folder after 'text:'"
            )
        source = _text(Path(spec.removeprefix("text:")))
    elif spec in HUB_CONFIGS:
        progress(f"{spec}: reading from the Hugging Face hub")
        files = tuple(TextFile(role, data, role) for role, data in read_hub(spec).items())
        source = Source("splits", files, spec)
    else:
        raise DataError(
            "data is python-stdlib, text:PATH, wikitext-103 or wikitext-2",
            got=spec,
            remedy=_remedy(spec),
        )
    if not any(file.data.strip() for file in source.files):
        raise DataError(
            "the text is empty", got=spec, remedy="Name a file or folder that holds text"
        )
    n_bytes = sum(len(file.data) for file in source.files)
    if source.left_out:
        progress(_listed(source.left_out))
    for note in source.notes:
        progress(note)
    progress(f"{source.description}: {len(source.files)} file(s), {n_bytes / 1e6:.1f} MB")
    return source


def _remedy(spec: str) -> str:
    if Path(spec).expanduser().exists():
        return f"Did you mean 'text:{spec}'?"
    return did_you_mean(spec, ("python-stdlib", "text:PATH", *HUB_CONFIGS))


def _python_stdlib(root: Path) -> Source:
    """The .py files of the standard library at `root` by sorted path, until `STDLIB_MAX_BYTES` are
    taken."""
    files: list[TextFile] = []
    room = STDLIB_MAX_BYTES
    for name in _walk(root, _STDLIB_SKIP)[0]:
        if not name.endswith(".py"):
            continue
        raw = read_file(root / name)
        # A declared other encoding is as good as undecodable here: such files are a handful of code
        # tables.
        if not raw or len(raw) > room or decode(raw).data != raw.removeprefix(codecs.BOM_UTF8):
            continue
        room -= len(raw)
        files.append(TextFile(name, raw))
    if not files:
        raise DataError(
            "python-stdlib needs the standard library's .py files",
            got=str(root),
            remedy="This Python ships without them: use --data text:PATH",
        )
    # Its tables of codecs share passages (2 % of the text). They stay: the published figures are of
    # this text.
    description = f"python-stdlib ({root}, without tests, idlelib and lib2to3)"
    return Source("folder", tuple(files), description, whole_files=True)


def _text(path: Path) -> Source:
    try:
        path = path.expanduser()
        kind = path.stat().st_mode
    except (OSError, ValueError, RuntimeError) as error:  # a NUL character; a user who is not known
        raise DataError(
            "no such file or folder",
            got=str(path),
            remedy=f"Check the path after 'text:' ({_cause(error)})",
        ) from error
    if stat.S_ISDIR(kind):
        return _folder(path)
    if not stat.S_ISREG(kind):
        raise DataError("text:PATH is a regular file or a folder, no pipe or device", got=str(path))
    text = decode(read_file(path, MAX_TEXT_BYTES))
    if text.refused:
        raise DataError(
            f"the file is no text: {text.refused}", got=str(path), remedy="Convert it to UTF-8 text"
        )
    notes = _replaced_note(path.name, text.n_replaced)
    return Source("file", (TextFile(path.name, text.data),), f"text:{path}", notes=notes)


def _cause(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _folder(root: Path) -> Source:
    names, left_out = _walk(root, frozenset({"__pycache__"}))
    roles = {name: role for name in names if (role := role_of(name)) is not None}
    given = set(roles.values())
    notes: list[str] = []
    if "train" in given and len(given) > 1:
        missing = sorted({"train", "valid", "test"} - given)
        if missing:
            raise DataError(
                "a folder with split files needs train, valid and test",
                problem=f"{root} has no {' and no '.join(missing)}",
                remedy="Add the file, or name the text file itself to have it split",
            )
        for name in names:
            if name not in roles:
                left_out.setdefault("no split's name beside train, valid and test", []).append(name)
        files = tuple(_text_files(root, roles, roles, left_out, notes))
        for role in sorted(given):
            if not any(file.data.strip() for file in files if file.role == role):
                reasons = f" ({_listed(left_out)})" if left_out else ""
                raise DataError(
                    f"the {role} split holds text",
                    problem=f"the {role} text is empty, or no text{reasons}",
                )
        description = f"text:{root} (train, valid and test given)"
        return Source("splits", files, description, _frozen(left_out), tuple(notes))
    files = tuple(_text_files(root, names, {}, left_out, notes))
    if not files:
        raise DataError(
            "a folder of text holds text files",
            problem=f"{root} holds none" + (f" ({_listed(left_out)})" if left_out else ""),
            remedy="Name a folder of UTF-8 files",
        )
    if given:
        notes.append(
            f"{_shown(list(roles))}: named like {' and '.join(sorted(given))} text, but a folder of splits has train,"
            " valid and test: all files are pooled and cut anew"
        )
    return Source("folder", files, f"text:{root}", _frozen(left_out), tuple(notes))


def _text_files(
    root: Path, names: Iterable[str], roles: dict[str, str], left_out: LeftOut, notes: list[str]
) -> Iterator[TextFile]:
    """The files among `names` that hold text. What else there is, is added to `left_out`, what was
    changed to `notes`."""
    room = MAX_TEXT_BYTES
    for name in names:
        text = decode(read_file(root / name, room))
        if text.refused:
            left_out.setdefault(text.refused, []).append(name)
        notes += _replaced_note(name, text.n_replaced)
        if text.data:
            room -= len(text.data)
            yield TextFile(name, text.data, roles.get(name))


def _replaced_note(name: str, n_replaced: int) -> tuple[str, ...]:
    return (
        (f"{_shown([name])}: {n_replaced} undecodable places became U+FFFD",) if n_replaced else ()
    )


def _listed(left_out: Mapping[str, Sequence[str]]) -> str:
    parts = (f"{_shown(names)}: {reason}" for reason, names in left_out.items())
    return f"{sum(map(len, left_out.values()))} left out ({'; '.join(parts)})"


def _shown(names: Sequence[str]) -> str:
    """The first names, so that a terminal cannot be told anything by them, and how many more there
    are."""
    first = ", ".join("".join(c if c.isprintable() else "?" for c in name) for name in names[:3])
    return first if len(names) <= 3 else f"{first} and {len(names) - 3} more"


def _frozen(left_out: LeftOut) -> dict[str, tuple[str, ...]]:
    return {reason: tuple(names) for reason, names in left_out.items()}


def _walk(root: Path, skip: frozenset[str]) -> tuple[list[str], LeftOut]:
    """Relative POSIX paths of regular files under `root` in sorted order, hidden ones left out; and
    what is no file.

    Links to folders are not followed: they may lead back.
    """
    names: list[str] = []
    left_out: LeftOut = {}

    def leave(path: Path, reason: str) -> None:
        left_out.setdefault(reason, []).append(path.relative_to(root).as_posix())

    def unreadable(error: OSError) -> None:
        path = Path(error.filename or root)
        if path == root:
            raise DataError(
                "the folder cannot be read", got=str(root), remedy=_cause(error)
            ) from error
        leave(path, f"cannot be read ({_cause(error)})")

    for folder, folders, files in os.walk(root, onerror=unreadable):
        folders[:] = sorted(
            name for name in folders if name not in skip and not name.startswith(".")
        )
        for name in folders:
            if Path(folder, name).is_symlink():
                leave(Path(folder, name), "a link to a folder")
        for name in sorted(name for name in files if not name.startswith(".")):
            path = Path(folder, name)
            if path.is_file():
                names.append(path.relative_to(root).as_posix())
            else:
                leave(path, "no regular file (pipe, device or broken link)")
    return sorted(names), left_out
