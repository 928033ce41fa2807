"""Where candidates are measured: in this process, or by workers that Ray starts or a cluster has."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from clso.evaluation.evaluator import Evaluator, LocalEvaluator
from clso.evaluation.workers import Workers

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.space.objectives import Objectives

__all__ = ["ExecutionBackend", "open_execution"]


class ExecutionBackend:
    """This process: one evaluator on one device."""

    def __init__(self, device: str) -> None:
        self.devices: tuple[str, ...] = (device,)
        """Devices of this machine that work for the run, for its energy meter."""

    def check_energy(self, *, measured: bool) -> None:
        """Raises `ConfigError` where the workers' energy would be counted and cannot be told apart."""

    def evaluator(self, config: RunConfig, objectives: Objectives) -> Evaluator:
        """An evaluator for a space that is prepared."""
        return LocalEvaluator(objectives.complete(objectives.space.objective()))


@contextmanager
def open_execution(workers: Workers, device: str) -> Iterator[ExecutionBackend]:
    """Start or join what the workers need; without workers that is nothing, and Ray is not imported.

    Raises `ConfigError` for a cluster that does not answer, or for more than the machine has.
    """
    if not workers:
        yield ExecutionBackend(device)
        return
    from clso.evaluation.ray_session import RayBackend

    place = RayBackend(workers, device)
    try:
        yield place
    finally:
        place.close()
