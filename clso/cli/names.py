"""Comma-separated lists on the command line."""

from __future__ import annotations

from typing import Any

import click

__all__ = ["Names"]


class Names(click.ParamType[Any]):
    """Comma-separated names, as a tuple."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return (
            value
            if isinstance(value, tuple)
            else tuple(part.strip() for part in str(value).split(","))
        )
