"""Rows of Markdown tables."""

from __future__ import annotations

from typing import Any

__all__ = ["head", "row"]


def head(*cells: Any, numbers: bool = False) -> list[str]:
    """The first row and the rule below it; `numbers` stand at the right of all columns but the first."""
    rule = "|---" + "|---:" * (len(cells) - 1) if numbers else "|---" * len(cells)
    return [row(*cells), f"{rule}|"]


def row(*cells: Any) -> str:
    """A line."""
    return f"| {' | '.join(map(str, cells))} |"
