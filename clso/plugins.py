"""What plugs in, found through entry points: spaces, surrogates, crystals, baselines, models,
tasks, loggers. Imported when it is selected."""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, is_dataclass
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from clso.errors import ClsoError, PluginError, did_you_mean

__all__ = [
    "Group",
    "Plugin",
    "absolute",
    "absolute_path",
    "as_plugin_error",
    "available",
    "files_pass",
    "load",
    "load_options",
    "require_known",
]

Group = Literal[
    "search_spaces", "surrogates", "crystals", "baselines", "models", "tasks", "loggers"
]

Gate = Callable[[Path, str], None]
"""Is told the path and SHA-256 of a plugin file before it runs, and may raise."""

_gates: list[Gate] = []
_TRACEBACK = "Set CLSO_TRACEBACK=1 to see the traceback."


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin and where it came from: a distribution's version, or a file's path and
    SHA-256."""

    name: str
    value: Any
    distribution: str
    version: str
    sha256: str | None = None

    def describe(self) -> dict[str, str]:
        """What the manifest holds of it."""
        found = {"name": self.name, "distribution": self.distribution, "version": self.version}
        return found if self.sha256 is None else {**found, "sha256": self.sha256}

    def subclass_of(self, base: type) -> Any:
        """`value`, a subclass of `base`. Raises `PluginError` if it is something else."""
        if not (isinstance(self.value, type) and issubclass(self.value, base)):
            raise PluginError(
                f"{self.name!r} is a subclass of {_public_name(base)}",
                got=repr(self.value),
            )
        return self.value

    @property
    def options(self) -> type:
        """The dataclass `Options` of the class that plugs in. Raises `PluginError`."""
        options = getattr(self.value, "Options", None)
        if not (isinstance(options, type) and is_dataclass(options)):
            raise PluginError(
                f"{self.name!r} is a class with a dataclass `Options`", got=repr(self.value)
            )
        return options

    def as_plugin_error(self, step: str) -> AbstractContextManager[None]:
        """While the plugin's code runs: what it raises becomes a `PluginError`, with the cause
        attached."""
        return as_plugin_error(f"the plugin {self.name!r} can {step}")


@contextmanager
def as_plugin_error(
    rule: str, kind: type[ClsoError] = PluginError, *, remedy: str = _TRACEBACK
) -> Iterator[None]:
    """While a user's code runs: what it raises becomes an error of `kind` that names the `rule`,
    with the cause attached.

    `sys.exit` counts as an error: a library that gives up must not end the run as if it were done.
    Ctrl-C passes, as do a full disk, which is nobody's fault, and errors that say already what is
    wrong."""
    try:
        yield
    except (ClsoError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise kind(rule, problem=f"its code raised {_text(error)}", remedy=remedy) from error


def available(group: Group) -> dict[str, list[EntryPoint]]:
    """Name -> the entry points that claim it (more than one: the distributions disagree)."""
    found: dict[str, list[EntryPoint]] = {}
    for point in _installed(f"clso.{group}"):
        found.setdefault(point.name, []).append(point)
    return {name: _distinct(points) for name, points in sorted(found.items())}


def require_known(group: Group, name: str) -> None:
    """Nothing if there is such a plugin, or such a file. Its code is not run, so that a misspelt
    name is found before anything heavy is imported. Raises `PluginError`."""
    if _is_file(name):
        _split(name)
    else:
        _point(group, name)


def options_apart(group: Group, name: str) -> type | None:
    """The dataclass that the entry-point group `clso.options` has of a plugin, which is not imported
    for it; None if there is none.

    Raises `PluginError`."""
    if group != "search_spaces" or _is_file(name):
        return None
    own = _point(group, name)
    apart = [p for p in _installed("clso.options") if p.name == name]
    if len(apart) != 1 or _owner(apart[0]) != _owner(own):
        return None
    with as_plugin_error(f"the options of {name!r} ({apart[0].value}) can be imported"):
        options: type = apart[0].load()
    return options


def load_options(group: Group, name: str) -> type:
    """What may be set of the plugin `name`: its dataclass `Options`, without importing the plugin if
    that can be.

    Raises `PluginError`."""
    return options_apart(group, name) or load(group, name).options


def load(group: Group, name: str) -> Plugin:
    """Import the plugin `name`, or the attribute of a file for `FILE.py:NAME`.

    Raises `PluginError` for an unknown name, a name claimed twice, and a plugin whose import fails.
    """
    if _is_file(name):
        return _load_file(name)
    kind, point = _kind(group), _point(group, name)
    repair = f"Repair or reinstall {_owner(point)[0]}. {_TRACEBACK}"
    with as_plugin_error(f"the {kind} {name!r} ({point.value}) can be imported", remedy=repair):
        value = point.load()
    return Plugin(name, value, *_owner(point))


def _is_file(name: str) -> bool:
    return ".py:" in name or name.endswith(".py")


def _kind(group: Group) -> str:
    return group.removesuffix("s").replace("_", " ")


def _point(group: Group, name: str) -> EntryPoint:
    """The one entry point with this name. Raises `PluginError`."""
    found, kind = available(group), _kind(group)
    if name not in found:
        known = ", ".join(found) or "none installed"
        raise PluginError(
            f"unknown {kind}", got=name, remedy=did_you_mean(name, found, f"Known: {known}.")
        )
    points = found[name]
    if len(points) > 1:
        owners = ", ".join(f"{_owner(p)[0]} ({p.value})" for p in points)
        raise PluginError(
            f"the {kind} name {name!r} is claimed once", got=owners, remedy="Uninstall one of them."
        )
    return points[0]


@contextmanager
def files_pass(gate: Gate) -> Iterator[None]:
    """While the body runs, plugin files of any group are shown to `gate` first. Installed plugins
    are not."""
    _gates.append(gate)
    try:
        yield
    finally:
        _gates.remove(gate)


def absolute(name: str) -> str:
    """`FILE.py:NAME` with the file's absolute path, so that it means the same in every folder;
    other names unchanged."""
    path, _, attribute = name.rpartition(":")
    return f"{Path(path).resolve()}:{attribute}" if path.endswith(".py") else name


def absolute_path(path: str) -> str:
    """A file or folder as it is named in every folder; `~` is this user's home, and links stay as
    they are."""
    try:
        return str(Path(path).expanduser().absolute())
    except RuntimeError:  # ~NAME of a user who is not known: whoever reads the path says so
        return path


def _installed(group: str) -> tuple[EntryPoint, ...]:
    places = []
    for path in sys.path:
        with suppress(OSError):
            places.append((path, os.stat(path or ".").st_mtime_ns))
    return _read(group, tuple(places))


@lru_cache(maxsize=64)
def _read(group: str, places: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Read once for as long as nothing is installed: all distributions are looked through for it,
    30 ms with torch's."""
    return tuple(entry_points(group=group))


def _distinct(points: list[EntryPoint]) -> list[EntryPoint]:
    """Without what is the same: one installation can be seen twice on sys.path."""
    if len(points) == 1:
        return points
    found: dict[tuple[str, str], EntryPoint] = {}
    for point in points:
        found.setdefault((_owner(point)[0], point.value), point)
    return list(found.values())


def _owner(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")


def _text(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"


def _split(name: str) -> tuple[Path, str]:
    """The file that is there, and the name in it. Raises `PluginError`."""
    path_text, _, attribute = name.rpartition(":")
    if not path_text.endswith(".py"):
        raise PluginError(
            "a plugin file is given as FILE.py:NAME",
            got=name,
            remedy="Name a class or function in it.",
        )
    path = Path(path_text).resolve()
    if not path.is_file():
        raise PluginError("a plugin given as FILE.py:NAME names a file", got=path_text)
    return path, attribute


def _load_file(name: str) -> Plugin:
    path, attribute = _split(name)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise PluginError(f"{path} cannot be read ({error.strerror})") from error
    digest = hashlib.sha256(source).hexdigest()
    for gate in _gates:
        gate(path, digest)
    with as_plugin_error(f"{path} can be imported"):
        module = _module(path, source)
    if not hasattr(module, attribute):
        public = [n for n in vars(module) if not n.startswith("_")]
        raise PluginError(
            f"no class or function {attribute} in {path}",
            remedy=did_you_mean(attribute, public),
        )
    return Plugin(name, getattr(module, attribute), str(path), "file", digest)


def _module(path: Path, source: bytes) -> ModuleType:
    """The file as a module, run once a process for as long as it does not change.

    Compiled from the bytes that are hashed: a stale cache of byte code, or a write in between,
    cannot come in."""
    digest = hashlib.sha256(bytes(path) + b"\0" + source).hexdigest()
    name = f"clso_plugin_{path.stem}_{digest[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    sys.modules[name] = module  # dataclasses look themselves up there
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _public_name(kind: type) -> str:
    """Where users import a class of ours from: its package, if that has it."""
    package = kind.__module__.rpartition(".")[0]
    is_shown = getattr(sys.modules.get(package), kind.__name__, None) is kind
    return f"{package if is_shown else kind.__module__}.{kind.__name__}"
