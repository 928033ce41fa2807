"""Which models are probed on which task, how they are trained for it, and how much is measured."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from clso.errors import ConfigError, did_you_mean
from clso.probe.metrics import GROUPS

__all__ = ["ProbeSettings"]


@dataclass(frozen=True)
class ProbeSettings:
    """Settings of `clso probe`; raises `ConfigError` for a value that breaks a rule.

    Attributes:
        subjects: run folders with a sequence model in best/, or models by name (entry points of
            `clso.models`, or FILE.py:CLASS), which are trained here.
        task: a name of `clso.tasks`, or FILE.py:CLASS; None: the task that the first run recorded.
        task_options: fields of the task's options.
        data_seed: of the task's examples.
        groups: of metrics, in the order of `GROUPS`.
        d_model, n_layers, n_heads: sizes of models that are trained here.
        model_options: fields of a family's `Config` by model, which go before the sizes.
        equal_parameters: search each d_model so that all have about this many; None: as given.
        steps, batch, eval_every, stop_after: AdamW training (`clso.tasks.train`).
        lr: learning rate; sensitivity is measured at a third and three times of it.
        seeds: trainings of each model, from seed 0 on.
        jobs: trainings at a time, each in a process of its own if there are several.
        examples: of test, on which all but accuracy and loss are measured.
        repeats: least repetitions of a timing.
        min_time_s: least seconds of a window of energy.
        device, energy: as in a run.
    """

    subjects: tuple[str, ...]
    task: str | None = None
    task_options: Mapping[str, Any] = field(default_factory=dict)
    data_seed: int = 0
    groups: tuple[str, ...] = GROUPS
    d_model: int = 32
    n_layers: int = 2
    n_heads: int = 4
    model_options: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    equal_parameters: int | None = None
    steps: int = 600
    batch: int = 32
    eval_every: int = 100
    stop_after: int = 3
    lr: float = 3e-3
    seeds: int = 1
    jobs: int = 1
    examples: int = 64
    repeats: int = 20
    min_time_s: float = 0.5
    device: str = "auto"
    energy: str = "auto"

    def __post_init__(self) -> None:
        if not self.subjects:
            raise ConfigError("at least one run or model is probed", remedy="Name one.")
        if len(set(self.subjects)) < len(self.subjects):
            raise ConfigError("each run or model is named once", got=list(self.subjects))
        for group in self.groups:
            if group not in GROUPS:
                raise ConfigError(
                    "a group of metrics has a known name",
                    got=group,
                    remedy=did_you_mean(group, GROUPS, f"Known: {', '.join(GROUPS)}."),
                )
        if len(set(self.groups)) < len(self.groups):
            raise ConfigError("each group of metrics is named once", got=list(self.groups))
        lowest = {"seeds": 1, "jobs": 1, "examples": 8, "repeats": 2, "steps": 1, "batch": 1}
        for name, low in lowest.items():
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is at least {low}", got=getattr(self, name))
        if self.equal_parameters is not None and self.equal_parameters < 1:
            raise ConfigError("equal_parameters is at least 1", got=self.equal_parameters)
        if not 0 < self.lr < math.inf:
            raise ConfigError("lr is a positive rate", got=self.lr)
        if not 0 <= self.min_time_s < math.inf:
            raise ConfigError("the seconds of a window are at least 0", got=self.min_time_s)
