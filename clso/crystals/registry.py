"""Families by name: the decorator that adds one and the function that makes a crystal of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from clso.crystals.base import Crystal
from clso.crystals.params import Params
from clso.errors import ConfigError, did_you_mean

__all__ = ["FAMILIES", "family_class", "make_crystal", "register_family"]

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
        raise ConfigError(
            "unknown crystal family",
            got=name,
            remedy=did_you_mean(name, FAMILIES, f"Known: {', '.join(sorted(FAMILIES))}."),
        )
    return FAMILIES[name]


def make_crystal(
    family: str, shape: tuple[int, int], seed: int = 0, params: Params | None = None
) -> Crystal:
    """The crystal of (family, shape (d_out, d_in), seed, params): the same bits in every process.

    Raises:
        ConfigError: unknown family, bad shape, seed or parameters.
    """
    return family_class(family)(shape, params, seed=seed)
