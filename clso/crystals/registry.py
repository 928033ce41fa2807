"""Families by name: the decorator that adds one, those that plug in, and the function that makes a
crystal of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from clso import plugins
from clso.crystals.base import Crystal
from clso.crystals.params import Params
from clso.errors import ConfigError, PluginError, did_you_mean

__all__ = [
    "FAMILIES",
    "family_class",
    "family_plugins",
    "load_families",
    "make_crystal",
    "register_family",
]

FAMILIES: dict[str, type[Crystal]] = {}
_C = TypeVar("_C", bound=type[Crystal])


def register_family(name: str) -> Callable[[_C], _C]:
    """Class decorator: `@register_family("stripes")` makes `make_crystal("stripes", ...)` work.

    Raises:
        ConfigError: the name is taken by another class.
    """

    def register(cls: _C) -> _C:
        taken = FAMILIES.get(name)
        # A module reloaded in a notebook defines the same class again: that one may replace itself.
        if taken is not None and (taken.__module__, taken.__qualname__) != (
            cls.__module__,
            cls.__qualname__,
        ):
            raise ConfigError(
                "a crystal family's name is used once", got=name, remedy="Choose another name."
            )
        cls.family = name
        FAMILIES[name] = cls
        return cls

    return register


def family_class(name: str) -> type[Crystal]:
    """The class registered as `name`.

    Raises:
        ConfigError: there is none; the message names the nearest.
    """
    if name not in FAMILIES:
        known = sorted({*FAMILIES, *plugins.available("crystals")})
        raise ConfigError(
            "unknown crystal family",
            got=name,
            remedy=did_you_mean(name, known, f"Known: {', '.join(known)}."),
        )
    return FAMILIES[name]


def load_families(names: str) -> list[type[Crystal]]:
    """The families of a comma-separated list: registered ones, entry points of the group
    `clso.crystals`, and classes as FILE.py:CLASS. What plugs in is registered by its `family`.

    Raises:
        ConfigError: an unknown or empty name, one that is listed twice, or a `family` that another
        class has.
        PluginError: a plugin that cannot be imported, or is no crystal family.
    """
    found: list[type[Crystal]] = []
    for name in _listed(names):
        plugin = plugins.load("crystals", name) if _plugs_in(name) else None
        family = family_class(name) if plugin is None else _plugged_in(plugin)
        if family in found:
            raise ConfigError("a list of crystals names a family once", got=name)
        found.append(family)
    return found


def family_plugins(names: str) -> dict[str, plugins.Plugin]:
    """Those families of the list that plug in, by `family`, with where they come from."""
    loaded = [plugins.load("crystals", name) for name in _listed(names) if _plugs_in(name)]
    return {_plugged_in(plugin).family: plugin for plugin in loaded}


def _listed(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")] if names else []


def _plugs_in(name: str) -> bool:
    """Whether a file or a distribution has it; the families that come with CLSO cannot be
    replaced."""
    known = FAMILIES.get(name)
    if known is not None and known.__module__.startswith("clso.crystals."):
        return False
    return ".py" in name or name in plugins.available("crystals")


def _plugged_in(plugin: plugins.Plugin) -> type[Crystal]:
    family: type[Crystal] = plugin.subclass_of(Crystal)
    if missing := sorted(getattr(family, "__abstractmethods__", ())):
        raise PluginError(
            f"a crystal family gives {', '.join(missing)}", problem=f"{plugin.name} does not"
        )
    if not isinstance(family.family, str) or not family.family:
        raise PluginError(
            "a crystal family has a name",
            problem=f"{plugin.name} has none",
            remedy='Set it in the class: family = "stripes".',
        )
    return register_family(family.family)(family)


def make_crystal(
    family: str, shape: tuple[int, int], seed: int = 0, params: Params | None = None
) -> Crystal:
    """The crystal of (family, shape (d_out, d_in), seed, params): the same bits in every process.

    Raises:
        ConfigError: unknown family, bad shape, seed or parameters.
    """
    return family_class(family)(shape, params, seed=seed)
