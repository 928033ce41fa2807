"""The JSON Schema of a recipe, read off the dataclasses of its tables: for editors that check TOML
as it is typed."""

from __future__ import annotations

from dataclasses import MISSING, Field, fields
from typing import Any

from clso.space.option_help import describe_options

__all__ = ["recipe_schema"]

_TYPES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number"}


def recipe_schema(options: type | None = None) -> dict[str, Any]:
    """What `--config` takes, as JSON Schema (2020-12). `options` is the dataclass of a space's
    options; without it any names are taken in `[options]`."""
    from clso.config import SPACE_SETTINGS, RunConfig
    from clso.evaluation.workers import Workers
    from clso.prove.config import ProveConfig

    run = _table(RunConfig)
    scalars = {"type": ["string", "integer", "number", "boolean"]}
    run["properties"]["options"] = {
        "description": run["properties"]["options"].get("description", ""),
        **({"type": "object", "additionalProperties": scalars} if options is None else {}),
        **(_table(options) if options is not None else {}),
    }
    for name, default in SPACE_SETTINGS.items():
        run["properties"].setdefault(
            name, {"type": _TYPES[type(default)], "description": f"Now options.{name}."}
        )
    run["properties"]["workers"] = _table(Workers)
    run["properties"]["prove"] = _table(ProveConfig)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A recipe of CLSO",
        **run,
    }


def _table(kind: type) -> dict[str, Any]:
    """The fields of a dataclass of settings, none of them required, and no others."""
    texts = {option.name: option.help for option in describe_options(kind)}
    properties = {}
    for f in fields(kind):
        default = _default(f)
        found = _value(default)
        if texts.get(f.name):
            found["description"] = texts[f.name]
        if not isinstance(default, dict):
            found["default"] = list(default) if isinstance(default, tuple) else default
        properties[f.name] = found
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _value(default: Any) -> dict[str, Any]:
    """What takes the place of a default: the same type, and what `clso.config.checked` takes for
    it."""
    if isinstance(default, tuple):
        return {"type": "array", "items": _value(default[0] if default else "")}
    if isinstance(default, dict):
        return {"type": "object"}
    return {"type": _TYPES[type(default)]}


def _default(f: Field[Any]) -> Any:
    return f.default_factory() if f.default_factory is not MISSING else f.default
