"""The one place where a console of rich is made: brackets are no markup, `:name:` is no emoji, and
controls are escapes."""

from __future__ import annotations

import sys
from typing import Any

from rich.console import Console
from rich.text import Text

from clso.cli.output import Forgiving, plain

__all__ = ["console"]


class _Console(Console):
    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(plain(text), **options)


def console(*, stderr: bool = False) -> Console:
    """For tables and text on stdout, or for progress on stderr."""
    file: Any = Forgiving(sys.stderr) if stderr else None
    return _Console(file=file, markup=False, emoji=False, highlight=False)
