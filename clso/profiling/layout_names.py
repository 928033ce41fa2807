"""The names of layouts, apart, so that settings are read without torch."""

from __future__ import annotations

from typing import Literal, get_args

__all__ = ["LAYOUTS", "Layout"]

Layout = Literal["padded", "sorted", "packed"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)
