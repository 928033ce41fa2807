"""A listener that stops a run after some generations."""

from __future__ import annotations

from typing import Any

from clso.search.generations import Listener, Search


class StopAfter(Listener):
    def __init__(self, n: int) -> None:
        self.n = n

    def generation(self, search: Search, row: dict[str, Any]) -> None:
        self.n -= 1

    def __call__(self) -> bool:
        return self.n <= 0
