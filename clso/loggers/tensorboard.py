"""TensorBoard: event files in RUN/tensorboard, for `tensorboard --logdir runs/local`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from clso.loggers.base import Logger

__all__ = ["TensorBoard"]


class TensorBoard(Logger):
    """Scalars by generation; settings and winner as text."""

    requires = "tensorboardX"
    extra = "tensorboard"

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        from tensorboardX import SummaryWriter

        self._writer = SummaryWriter(str(folder / "tensorboard"))
        self._writer.add_text("config", _block(config))
        self._step = 0

    def values(self, step: int, values: Mapping[str, float]) -> None:
        self._step = step
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()  # it is looked at while the run goes on

    def winner(self, values: Mapping[str, float], alleles: Mapping[str, str]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, self._step)
        self._writer.add_text("winner", _block(alleles), self._step)

    def close(self) -> None:
        self._writer.close()


def _block(value: Mapping[str, Any]) -> str:
    return "```\n" + json.dumps(value, indent=2) + "\n```"
