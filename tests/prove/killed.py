"""A proof in a process of its own, to be killed: python -m prove.killed RECIPE FOLDER. Says what it
does."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

from clso.config import RunConfig
from clso.prove import ProveConfig, prove

from .steady import SteadySource


def say(line: str) -> None:
    """Print it; in the third window, wait for the kill."""
    print(line, flush=True)  # noqa: T201
    if "window/3/" in line:
        signal.pause()


if __name__ == "__main__":
    recipe, folder = map(Path, sys.argv[1:])
    prove(
        RunConfig.from_toml(recipe),
        ProveConfig.from_toml(recipe),
        folder,
        progress=say,
        make_meter=SteadySource().meter,
    )
