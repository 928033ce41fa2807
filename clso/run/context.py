"""What a run is carried out with: its settings, its plugins, and what it has around it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clso.config import RunConfig
from clso.crystals.registry import family_plugins
from clso.errors import RunFolderError
from clso.evaluation.workers import Workers
from clso.plugins import Plugin
from clso.run.folder import RunFolder
from clso.search.generations import Listener
from clso.space.build import load_plugins

__all__ = ["RunContext", "workers_to_resume"]


def _never() -> bool:
    return False


@dataclass(frozen=True)
class RunContext:
    """One run's own: made once, before its folder is, and handed down unchanged."""

    config: RunConfig
    device: str
    """The torch device, resolved: "cpu", "cuda:0"."""
    space_plugin: Plugin
    surrogate_plugin: Plugin | None
    listener: Listener
    stop: Callable[[], bool]
    """Asked after every generation whether the run shall stop."""
    cache_dir: Path | None
    """Where token files are kept, if not in the user's cache."""
    workers: Workers

    @classmethod
    def load(
        cls,
        config: RunConfig,
        device: str,
        *,
        listener: Listener | None = None,
        stop: Callable[[], bool] | None = None,
        cache_dir: Path | None = None,
        workers: Workers | None = None,
    ) -> RunContext:
        """With the config's plugins, which a run imports here and nowhere else.

        Raises:
            PluginError: a plugin is unknown, or is none.
            ConfigError: options that the space does not have.
        """
        space, surrogate = load_plugins(config)
        return cls(
            config,
            device,
            space,
            surrogate,
            listener or Listener(),
            stop or _never,
            cache_dir,
            workers or Workers(),
        )

    @property
    def plugins(self) -> dict[str, dict[str, str]]:
        """Where the space, the surrogate and each crystal family that plugs in come from, as
        manifest.json says it."""
        crystals = family_plugins(str(self.config.options.get("crystals", "")))
        named = {
            "space": self.space_plugin,
            "surrogate": self.surrogate_plugin,
            **{f"crystals:{family}": plugin for family, plugin in crystals.items()},
        }
        return {kind: plugin.describe() for kind, plugin in named.items() if plugin is not None}


def workers_to_resume(folder: RunFolder, *, trust: bool = False, **given: Any) -> Workers:
    """The workers that a run was last started with, with what is `given` (see
    `Workers.with_options`).

    Raises `RunFolderError` for a cluster that only the folder names: whoever wrote it would get the
    run."""
    has_begun = (folder.path / "manifest.json").exists()
    manifest = folder.read_json("manifest.json") if has_begun else {}
    workers = Workers.of(manifest.get("workers", {}))
    if workers.ray and not trust and given.get("n") is None and given.get("ray") is None:
        raise RunFolderError(
            "a cluster that a run folder names is joined only if you say so",
            got=workers.ray,
            remedy="Add --ray ADDRESS to join it, --workers N for workers of this machine, or --workers 0 for none.",
        )
    return workers.with_options(
        **{"n": None, "ray": None, "gpus": None, "timeout_s": None, **given}
    )
