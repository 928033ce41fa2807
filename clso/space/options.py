"""Options of a space or task: a frozen dataclass whose fields have defaults, set by a recipe's
`[options]` or `--option`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from clso.config import checked
from clso.errors import ConfigError, did_you_mean

__all__ = ["NoOptions", "make_options", "parse_options"]

_BOOLS = {"true": True, "false": False}


@dataclass(frozen=True)
class NoOptions:
    """What a space takes that has nothing to set."""


def make_options(kind: type, values: Mapping[str, Any], *, of: str = "this search space") -> Any:
    """An instance of the dataclass `kind` with `values` set; `of` names whose options they are, for
    errors.

    Raises `ConfigError` for an unknown key or a wrong type.
    """
    _check_keys(kind, values, of)
    return kind(**checked(kind, dict(values)))


def parse_options(
    kind: type, pairs: Iterable[str], *, of: str = "this search space"
) -> dict[str, Any]:
    """`KEY=VALUE` texts as values of the fields' types. Raises `ConfigError`."""
    texts: dict[str, str] = {}
    for pair in pairs:
        key, equals, text = pair.partition("=")
        if not equals:
            raise ConfigError("an option is KEY=VALUE", got=pair)
        texts[key.strip()] = text.strip()
    _check_keys(kind, texts, of)
    defaults = {f.name: f.default for f in fields(kind)}
    return {key: _convert(key, text, type(defaults[key])) for key, text in texts.items()}


def _convert(key: str, text: str, kind: type) -> Any:
    try:
        return _BOOLS[text.lower()] if kind is bool else kind(text)
    except (KeyError, ValueError) as error:
        raise ConfigError(f"option {key} is of type {kind.__name__}", got=text) from error


def _check_keys(kind: type, keys: Iterable[str], of: str) -> None:
    known = [f.name for f in fields(kind)]
    for key in keys:
        if not known:
            raise ConfigError(f"{of} takes no options", got=key, remedy="Remove it.")
        if key not in known:
            remedy = did_you_mean(key, known, f"Known: {', '.join(known)}.")
            raise ConfigError(f"unknown option of {of}", got=key, remedy=remedy)
