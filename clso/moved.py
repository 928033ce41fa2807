"""Where modules of earlier versions are now: an import of one that is gone says so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

__all__ = ["MOVED", "install"]

MOVED = {
    "clso.checked_space": "clso.space.checked",
    "clso.choices": "clso.space.choices",
    "clso.compare": "clso.run.compare",
    "clso.crystals.grown": "clso.grown",
    "clso.encoding": "clso.screening.encoding",
    "clso.evaluation.functions": "clso.space.functions",
    "clso.evaluation.results": "clso.space.results",
    "clso.evaluation.usage": "clso.energy.usage",
    "clso.finish": "clso.run.finish",
    "clso.front": "clso.search.acquisition",
    "clso.language": "clso.space.language (SpaceContext: clso.space.context)",
    "clso.learner": "clso.screening.learner",
    "clso.ledger": "clso.energy.ledger",
    "clso.manifest": "clso.run.manifest",
    "clso.objectives": "clso.space.objectives",
    "clso.optimizer": "clso.search.optimizer",
    "clso.options": "clso.space.options (options_type: clso.space.build)",
    "clso.packing": "clso.screening.packing",
    "clso.portfolio": "clso.screening.allocation",
    "clso.ranks": "clso.screening.ranks",
    "clso.records": "clso.run.folder",
    "clso.report.entries": "clso.run.entries",
    "clso.steady": "clso.search.steady_state",
    "clso.sync": "clso.run.mirror",
    "clso.trust": "clso.screening.trust",
    "clso.winner": "clso.run.finished",
    "clso.workers": "clso.evaluation.workers",
    "search_spaces": "clso.search_spaces",
    "surrogates": "clso.surrogates",
    "baselines": "clso.baselines",
}
"""Old module -> what to import today."""


class _Pointer(MetaPathFinder):
    """Asked last, so only of modules that nobody has."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> None:
        if name in MOVED:
            raise ModuleNotFoundError(f"{name} moved: import {MOVED[name]}", name=name)


def install() -> None:
    """Add the pointer to Python's import, once."""
    if not any(isinstance(finder, _Pointer) for finder in sys.meta_path):
        sys.meta_path.append(_Pointer())
