"""Weights & Biases: a run in the project `clso`, or WANDB_PROJECT; offline with
WANDB_MODE=offline."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clso.loggers.base import Logger

__all__ = ["WandB"]


class WandB(Logger):
    """Figures by generation; settings as its config, the winner in its summary."""

    requires = "wandb"
    extra = "wandb"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        import wandb

        self._run: Any = wandb.init(
            project=os.environ.get("WANDB_PROJECT", "clso"),
            name=folder.name,
            config=dict(config),
            # its own lines would tear the live view
            settings=wandb.Settings(console="off", silent=True),
        )

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        self._run.summary.update({**values, "winner": dict(alleles)})

    def close(self) -> None:
        self._run.finish()
