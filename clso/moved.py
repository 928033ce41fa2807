"""Modules of earlier versions, by their old names: imports of them go on working, with a warning."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["MOVED", "install"]

# Old module -> where its names are now.
MOVED: dict[str, tuple[str, ...]] = {
    "baselines.adamw": ("clso.baselines.adamw.baseline",),
    "baselines.adamw_batches": ("clso.baselines.adamw.batches",),
    "baselines.adamw_graph": ("clso.baselines.adamw.graph",),
    "baselines.adamw_loss": ("clso.baselines.adamw.loss",),
    "baselines.adamw_settings": ("clso.baselines.adamw.settings",),
    "baselines.adamw_timed": ("clso.baselines.adamw.timed",),
    "baselines.adamw_trainer": ("clso.baselines.adamw.trainer",),
    "clso.checked_space": ("clso.space.checked",),
    "clso.checksums": ("clso.disk.checksums",),
    "clso.choices": ("clso.space.choices",),
    "clso.compare": ("clso.run.compare",),
    "clso.consent": ("clso.run.consent",),
    "clso.crystals.grown": ("clso.grown",),
    "clso.crystals.grown.als": ("clso.grown.als",),
    "clso.crystals.grown.codes": ("clso.grown.codes",),
    "clso.crystals.grown.context": ("clso.grown.context",),
    "clso.crystals.grown.counted": ("clso.grown.counted",),
    "clso.crystals.grown.features": ("clso.grown.features",),
    "clso.crystals.grown.joint_context": ("clso.grown.joint_context",),
    "clso.crystals.grown.layout": ("clso.grown.layout",),
    "clso.crystals.grown.patterns": ("clso.grown.patterns",),
    "clso.crystals.grown.statistics": ("clso.grown.statistics",),
    "clso.crystals.grown.triton_rows": ("clso.grown.triton_rows",),
    "clso.encoding": ("clso.screening.encoding",),
    "clso.energy.null": ("clso.energy.backend",),
    "clso.energy.power": ("clso.energy.nvml_sampled",),
    "clso.evaluation.functions": ("clso.space.functions",),
    "clso.evaluation.results": ("clso.space.results",),
    "clso.evaluation.usage": ("clso.energy.usage",),
    "clso.files": ("clso.disk.files",),
    "clso.finish": ("clso.run.finish",),
    "clso.front": (
        "clso.search.acquisition",
        "clso.run.finish",
    ),
    "clso.language": (
        "clso.space.language",
        "clso.space.context",
    ),
    "clso.learner": ("clso.screening.learner",),
    "clso.ledger": ("clso.energy.ledger",),
    "clso.manifest": ("clso.run.manifest",),
    "clso.models.nsm_gate": ("clso.models.nsm_mixer",),
    "clso.models.nsm_router": ("clso.models.nsm_mixer",),
    "clso.models.store_nsm": ("clso.models.store",),
    "clso.models.tensors": ("clso.disk.tensors",),
    "clso.new_space": ("clso.cli.scaffold",),
    "clso.objectives": ("clso.space.objectives",),
    "clso.optimizer": ("clso.search.optimizer", "clso.search.minimizing"),
    "clso.options": (
        "clso.space.options",
        "clso.space.build",
    ),
    "clso.packing": ("clso.screening.packing",),
    "clso.parsing": ("clso.disk.parsing",),
    "clso.portfolio": ("clso.screening.allocation",),
    "clso.ranks": ("clso.screening.ranks",),
    "clso.records": ("clso.run.folder",),
    "clso.report.entries": ("clso.run.entries",),
    "clso.schema": ("clso.run.schema",),
    "clso.steady": ("clso.search.steady_state",),
    "clso.sync": ("clso.run.mirror",),
    "clso.trust": ("clso.screening.trust",),
    "clso.winner": ("clso.run.finished",),
    "clso.workers": (
        "clso.evaluation.workers",
        "clso.evaluation.execution",
        "clso.evaluation.opening",
    ),
    "search_spaces.gpt2": ("clso.search_spaces.gpt2.space",),
    "search_spaces.gpt2_assembly": ("clso.search_spaces.gpt2.assembly",),
    "search_spaces.gpt2_costs": ("clso.search_spaces.gpt2.costs",),
    "search_spaces.gpt2_crystals": ("clso.search_spaces.gpt2.crystals",),
    "search_spaces.gpt2_genes": ("clso.search_spaces.gpt2.genes",),
    "search_spaces.gpt2_grown": ("clso.search_spaces.gpt2.grown",),
    "search_spaces.gpt2_grown_costs": ("clso.search_spaces.gpt2.grown_costs",),
    "search_spaces.gpt2_grown_mlp": ("clso.search_spaces.gpt2.mlp",),
    "search_spaces.gpt2_pointer": ("clso.search_spaces.gpt2_pointer.space",),
    "search_spaces.gpt2_pointer_genes": ("clso.search_spaces.gpt2_pointer.genes",),
    "search_spaces.gpt2_pointer_weights": ("clso.search_spaces.gpt2_pointer.weights",),
    "search_spaces.gpt2_random": ("clso.search_spaces.gpt2.random",),
    "search_spaces.gpt2_template": ("clso.search_spaces.gpt2.template",),
    "search_spaces.gpt2_warm": ("clso.search_spaces.gpt2.warm",),
    "search_spaces.nsm": ("clso.search_spaces.nsm.space",),
    "search_spaces.nsm_costs": ("clso.search_spaces.nsm.costs",),
    "search_spaces.nsm_genes": ("clso.search_spaces.nsm.genes",),
    "search_spaces.nsm_grown": ("clso.search_spaces.nsm.grown",),
    "search_spaces.nsm_random": ("clso.search_spaces.nsm.random",),
    "search_spaces.nsm_task": ("clso.search_spaces.nsm.task",),
    "search_spaces.nsm_wiring": ("clso.search_spaces.nsm.wiring",),
    "search_spaces.sourced": ("clso.search_spaces.gpt2.sourced",),
}
_PLUGINS = ("search_spaces", "surrogates", "baselines")  # top-level packages, once


class _Finder(MetaPathFinder):
    """Asked last, so only of modules that nobody has."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        homes = MOVED.get(name)
        if homes is None and name.partition(".")[0] in _PLUGINS:
            homes = (f"clso.{name}",)
        return None if homes is None else ModuleSpec(name, _Alias(homes), is_package=True)


class _Alias(Loader):
    """A module that holds nothing and gives what its `homes` have."""

    def __init__(self, homes: tuple[str, ...]) -> None:
        self.homes = homes

    def create_module(self, spec: ModuleSpec) -> None:
        """Python's own kind of module."""

    def exec_module(self, module: ModuleType) -> None:
        name = module.__name__
        try:
            homes = [import_module(home) for home in self.homes]
        except ModuleNotFoundError as error:
            if error.name not in self.homes:
                raise
            raise ModuleNotFoundError(f"No module named {name!r}", name=name) from None

        def look_up(attribute: str) -> Any:
            for home in homes:
                if hasattr(home, attribute):
                    return getattr(home, attribute)
            where = " or ".join(self.homes)
            raise AttributeError(f"{name} moved to {where}, and has no {attribute!r}")

        module.__doc__ = f"Moved to {' and '.join(self.homes)}."
        module.__getattr__ = look_up  # type: ignore[method-assign]
        warnings.warn(
            f"{name} moved: import {' or '.join(self.homes)}", DeprecationWarning, stacklevel=2
        )


def install() -> None:
    """Add the old names to Python's import, once."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
