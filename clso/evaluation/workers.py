"""Where a run's candidates are measured: in this process, or by workers of a Ray that is private or
shared.

Nothing here changes what a run on CPUs computes. So it is no part of `RunConfig`, and a run may go
on with other workers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clso.config import read_toml, settings
from clso.errors import ConfigError

if TYPE_CHECKING:
    pass

__all__ = ["Workers"]


@settings
@dataclass(frozen=True)
class Workers:
    """The workers of a run. A recipe sets them in its table `workers`."""

    n: int = 0
    """Worker processes. 0: none; with `ray`, as many as the cluster has room for."""
    ray: str = ""
    """Cluster to join: "auto" or HOST:PORT. Empty: a private Ray on this machine."""
    gpus: float = 0.0
    """GPUs of a worker. 0: one, or an equal share if this machine has fewer GPUs than
    workers."""
    in_flight: int = 0
    """Candidates that a worker has at a time in an asynchronous search, half of them as its next
    batch. 0: four, and on GPUs, which take many as fast as a few, so many that all workers have a
    population."""
    timeout_s: float = 1800.0
    """A batch that takes longer counts as hung: its worker is killed and replaced."""
    start_timeout_s: float = 600.0
    """For the first worker to be ready; a cluster may have to start machines."""
    attempts: int = 3
    """A candidate over which so many workers died, with no other in their batch, is recorded as
    failed."""
    object_store_mb: int = 256
    """Memory of a private Ray's object store. What does not fit is spilled to disk."""

    def __post_init__(self) -> None:
        for name, low in (("n", 0), ("in_flight", 0), ("attempts", 1), ("object_store_mb", 80)):
            if getattr(self, name) < low:
                raise ConfigError(f"workers.{name} is at least {low}", got=getattr(self, name))
        for name in ("timeout_s", "start_timeout_s"):
            if not 0 < getattr(self, name) < math.inf:
                raise ConfigError(
                    f"workers.{name} is a positive number of seconds", got=getattr(self, name)
                )
        if self.gpus < 0 or (self.gpus > 1 and self.gpus % 1):
            raise ConfigError("a worker has a share of one GPU, or whole ones", got=self.gpus)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.n or self.ray)

    @classmethod
    def from_toml(cls, path: Path) -> Workers:
        """The table `workers` of a recipe, the defaults if it has none. Raises `ConfigError`."""
        return cls.of(read_toml(path).get("workers", {}))

    @classmethod
    def of(cls, values: Any) -> Workers:
        """From JSON or TOML types. Raises `ConfigError`."""
        if not isinstance(values, Mapping):
            raise ConfigError("workers is a table", got=values)
        return cls(**values)

    def with_options(
        self, *, n: int | None, ray: str | None, gpus: float | None, timeout_s: float | None
    ) -> Workers:
        """A copy with what a command line gives. Either of `n` and `ray` replaces both."""
        given: dict[str, Any] = {"gpus": gpus, "timeout_s": timeout_s}
        if n is not None or ray is not None:
            given |= {"n": n or 0, "ray": ray or ""}
        return replace(self, **{k: v for k, v in given.items() if v is not None})

    def to_json(self) -> dict[str, Any]:
        return asdict(self)
