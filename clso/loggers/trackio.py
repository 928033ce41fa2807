"""Trackio: a run in the project `clso`, on this machine; `trackio show` draws it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clso.loggers.base import Logger

__all__ = ["Trackio"]


class Trackio(Logger):
    """Figures by generation; settings as its config, the winner's alleles with the last step."""

    requires = "trackio"
    extra = "trackio"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import trackio

        self._run: Any = trackio.init(project="clso", name=folder.name, config=dict(config))
        self._step = 0

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        self._run.log(dict(values), step=step)

    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        named = {f"winner/{gene}": allele for gene, allele in alleles.items()}
        self._run.log({**values, **named}, step=self._step)

    def close(self) -> None:
        self._run.finish()
