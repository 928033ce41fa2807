"""A run's workers -> the backend that measures its candidates."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from clso.evaluation.execution import ExecutionBackend
from clso.evaluation.workers import Workers

__all__ = ["open_execution"]


@contextmanager
def open_execution(workers: Workers, device: str) -> Iterator[ExecutionBackend]:
    """Start or join what the workers need; without workers that is nothing, and Ray is not
    imported.

    Raises `ConfigError` for a cluster that does not answer, or for more than the machine has.
    """
    if not workers:
        yield ExecutionBackend(device)
        return
    from clso.evaluation.ray_session import RayBackend

    backend = RayBackend(workers, device)
    try:
        yield backend
    finally:
        backend.close()
