"""The value of `--config` and `--recipe`: a recipe's name, or a file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

__all__ = ["RECIPE"]


class _Recipe(click.ParamType):
    name = "recipe"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        from clso.disk.recipes import find_recipe

        return find_recipe(value)


RECIPE = _Recipe()
"""Gives the recipe's path. Raises `ConfigError` for a name that no recipe has."""
