"""Earlier runs that a run starts from, and the copy of them in its folder, from which it goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from clso.errors import ClsoError, RunFolderError
from clso.run.folder import RunFolder
from clso.search.earlier import Earlier, EarlierRun
from clso.space import SearchSpace

__all__ = ["earlier_runs"]

_NAME = "warm.json"


def earlier_runs(
    folder: RunFolder, space: SearchSpace, objective: str, runs: Sequence[EarlierRun]
) -> Earlier:
    """What a run in `folder` starts from: `runs`, of which a copy is written there, or the copy.

    Raises
    ------
    ConfigError
        One of `runs` is of another space or objective.
    RunFolderError
        A damaged copy.
    """
    paths = folder.config.warm_from
    if not paths:
        return Earlier()
    if not runs and not (folder.path / _NAME).exists():  # killed before it was written
        runs = [EarlierRun.read(Path(path)) for path in paths]
    if runs:
        found = Earlier.of(runs, space, objective)
        folder.write_json(_NAME, {"runs": found.to_json()}, indent=None)
        return found
    try:
        return Earlier.from_json(folder.read_json(_NAME)["runs"])
    except (KeyError, TypeError, ValueError, ClsoError) as error:
        raise RunFolderError(
            f"{folder.path / _NAME} is what the run wrote",
            problem=f"it cannot be read ({type(error).__name__}: {error})",
            remedy="Start a new run.",
        ) from error
