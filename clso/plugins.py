"""Search spaces, surrogates and baselines, found through entry points. Nothing is imported until it is selected."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal

from clso.errors import PluginError

__all__ = ["Group", "Plugin", "available", "load"]

Group = Literal["search_spaces", "surrogates", "baselines"]


@dataclass(frozen=True)
class Plugin:
    """A loaded plugin and where it came from; `distribution` and `version` go into the manifest."""

    name: str
    value: Any
    distribution: str
    version: str

    def subclass_of(self, base: type) -> Any:
        """`value`, a subclass of `base`. Raises `PluginError` where it is something else."""
        if not (isinstance(self.value, type) and issubclass(self.value, base)):
            raise PluginError(f"{self.name!r} is a subclass of {base.__module__}.{base.__name__}", got=repr(self.value))
        return self.value


def available(group: Group) -> dict[str, list[EntryPoint]]:
    """Name -> the entry points that claim it (more than one: the distributions disagree)."""
    found: dict[str, list[EntryPoint]] = {}
    for point in entry_points(group=f"clso.{group}"):
        claims = found.setdefault(point.name, [])
        if all(p.value != point.value for p in claims):  # one installation can be seen twice on sys.path
            claims.append(point)
    return dict(sorted(found.items()))


def load(group: Group, name: str) -> Plugin:
    """Import the plugin `name`, or the attribute of a file for `FILE.py:NAME`.

    Raises `PluginError` for an unknown name, a name claimed twice, and a plugin whose import fails.
    """
    if ".py:" in name:
        return _load_file(group, name)
    found = available(group)
    kind = group.removesuffix("s").replace("_", " ")
    if name not in found:
        near = difflib.get_close_matches(name, found, n=1)
        known = ", ".join(found) or "none installed"
        hint = f"Did you mean {near[0]!r}? " if near else ""
        raise PluginError(f"unknown {kind}", got=name, remedy=f"{hint}Known: {known}.")
    points = found[name]
    if len(points) > 1:
        owners = ", ".join(f"{_owner(p)[0]} ({p.value})" for p in points)
        raise PluginError(f"the {kind} name {name!r} is claimed once", got=owners, remedy="Uninstall one of them.")
    point = points[0]
    try:
        value = point.load()
    except Exception as error:
        raise PluginError(
            f"the {kind} {name!r} ({point.value}) can be imported",
            got=f"{type(error).__name__}: {error}",
            remedy=f"Repair or reinstall {_owner(point)[0]}.",
        ) from error
    return Plugin(name, value, *_owner(point))


def _owner(point: EntryPoint) -> tuple[str, str]:
    return (point.dist.name, point.dist.version) if point.dist else ("unknown", "unknown")


def _load_file(group: Group, spec: str) -> Plugin:
    path_text, _, attribute = spec.rpartition(":")
    path = Path(path_text)
    if not path.is_file():
        raise PluginError("a plugin given as FILE.py:NAME names a file", got=path_text)
    module_name = f"clso_plugin_{path.stem}"
    module_spec = importlib.util.spec_from_file_location(module_name, path)
    if module_spec is None or module_spec.loader is None:
        raise PluginError("a plugin file is a Python file", got=path_text)
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_name] = module
    try:
        module_spec.loader.exec_module(module)
        value = getattr(module, attribute)
    except AttributeError as error:
        raise PluginError(f"{path} defines {attribute!r}", got=str(error)) from error
    except Exception as error:
        raise PluginError(f"{path} can be imported", got=f"{type(error).__name__}: {error}") from error
    return Plugin(spec, value, str(path), "file")
