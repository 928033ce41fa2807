"""`clso new-space`: a project folder with a search space, its entry point and its tests, to start
from."""

from __future__ import annotations

import importlib.util
import keyword
import re
import sys
from pathlib import Path, PurePosixPath
from string import Template

from clso import plugins
from clso.errors import ConfigError

__all__ = ["new_space", "render"]

# a distribution, an entry point and, with _ for -, a package
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TEMPLATES = Path(__file__).parents[1] / "templates" / "new_space"


def new_space(name: str, folder: Path) -> list[Path]:
    """Write the project `name` to the new folder `folder`; return its files.

    Raises `ConfigError` for a name that is no distribution's, or is taken, and for a folder that
    exists."""
    check_name(name)
    if folder.exists():
        raise ConfigError(
            "a new project needs a new folder", got=str(folder), remedy="Choose another --out."
        )
    written = []
    for relative, text in render(name).items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        written.append(path)
    return written


def check_name(name: str) -> None:
    """Raises `ConfigError` unless `name` can be a distribution, an entry point and a package that
    nobody has yet."""
    if not _NAME.fullmatch(name):
        raise ConfigError(
            "a space's name is lower-case letters and digits, in words joined by -, and begins with a letter",
            got=name,
            remedy="For example: my-space.",
        )
    package = _package(name)
    if name in plugins.available("search_spaces"):
        raise ConfigError(
            "a new space has a name of its own",
            got=name,
            remedy="`clso list spaces` shows those taken.",
        )
    if (
        keyword.iskeyword(package)
        or package in sys.stdlib_module_names
        or importlib.util.find_spec(package)
    ):
        raise ConfigError(
            f"no module is called {package!r} yet", got=name, remedy="Choose another name."
        )


def render(name: str) -> dict[PurePosixPath, str]:
    """Relative path -> text of the files of the project `name`."""
    words = {
        "name": name,
        "package": _package(name),
        "class_name": "".join(w.capitalize() for w in name.split("-")),
    }
    found = {}
    for source in sorted(_TEMPLATES.rglob("*.template")):
        parts = source.relative_to(_TEMPLATES).with_suffix("").parts
        path = PurePosixPath(*(words["package"] if part == "package" else part for part in parts))
        found[path] = Template(source.read_text(encoding="utf-8")).substitute(words)
    return found


def _package(name: str) -> str:
    return name.replace("-", "_")
