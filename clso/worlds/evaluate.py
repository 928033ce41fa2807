"""A finished run's controller, measured again from disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from clso import plugins
from clso.errors import ConfigError, RunFolderError
from clso.run.folder import RunFolder
from clso.space import SearchSpace
from clso.space.build import build_space
from clso.worlds.controllers import ControllerSpace, Request

__all__ = ["evaluate_controller", "holds_controller"]


def holds_controller(path: Path) -> bool:
    """Whether a run's space is one of controllers. Raises `RunFolderError`, or `PluginError` if it is gone."""
    config = RunFolder.open(path).config
    kind = plugins.load("search_spaces", config.space).subclass_of(SearchSpace)
    return issubclass(kind, ControllerSpace)


def evaluate_controller(path: Path, request: Request) -> dict[str, Any]:
    """`success`, `spl`, `plan_ratio`, `n_problems` and `operations` of the winner of the run in `path`.

    Raises `RunFolderError` for a run without a winner, `ConfigError` for one of another kind of space, `DataError`
    for problems that cannot be read.
    """
    folder = RunFolder.open(path)
    space = build_space(plugins.load("search_spaces", folder.config.space), folder.config, "cpu")
    if not isinstance(space, ControllerSpace):
        raise ConfigError(
            "problems, plans and levels are of runs whose winner is a controller",
            got=folder.config.space,
            remedy="Leave these options out.",
        )
    if not folder.finished or not (folder.path / "best").is_dir():
        raise RunFolderError(
            "a finished run has a winner",
            got=str(path),
            remedy=f"Finish it with `clso resume {path}`.",
        )
    return space.evaluate_winner(folder.path / "best", request)
