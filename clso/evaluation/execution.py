"""Where candidates are measured: what a run asks of this process, or of Ray's workers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from clso.evaluation.evaluator import Evaluator, LocalEvaluator

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.space.objectives import Objectives

__all__ = ["ExecutionBackend"]


class ExecutionBackend:
    """This process: one evaluator on one device."""

    def __init__(self, device: str) -> None:
        self.devices: tuple[str, ...] = (device,)
        """Devices of this machine that work for the run, for its energy meter."""

    def check_energy(self, *, measured: bool) -> None:
        """Raises `ConfigError` if the workers' energy would be counted and cannot be told apart."""

    def evaluator(self, config: RunConfig, objectives: Objectives) -> Evaluator:
        """An evaluator for a space that is prepared."""
        return LocalEvaluator(objectives.complete(objectives.space.objective()))
