"""Ray for a run: a private one on this machine, or a cluster that is joined.

The private one listens on 127.0.0.1 only, has no dashboard, keeps its files to its user, and ends
with the run. This module imports Ray when it is used, not before."""

from __future__ import annotations

import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from clso.errors import ConfigError, EvaluationError
from clso.evaluation.execution import ExecutionBackend
from clso.evaluation.ray_folder import SessionFolder
from clso.evaluation.raylet import Raylet
from clso.evaluation.workers import Workers
from clso.space.objectives import ENERGY

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.evaluation.evaluator import Evaluator
    from clso.space.objectives import Objectives

__all__ = ["RayBackend"]

_SHUTDOWN_S = 20.0
# without an answer from the head node; Ray itself waits for a minute and then ends this process
_GONE_S = 15.0
_PROBE_TIMEOUT_S = 2.0
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # no warning about the next release's GPU environment
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


class RayBackend(ExecutionBackend):
    """A Ray with room for the workers. `close` ends a private one, and leaves a shared one.

    Attributes:
        n: workers.
        gpus: GPUs of each.
        worker_device: torch's name of a worker's device.
        is_private: whether all of it is this run's own.
        keeps_logs: whether a private Ray's logs outlive it: they tell what a worker died of.
    """

    keeps_logs = False

    def __init__(self, workers: Workers, device: str) -> None:
        self.workers, self.is_private = workers, not workers.ray
        on_gpus = device.startswith("cuda") or workers.gpus > 0
        self.worker_device = "cuda:0" if on_gpus else "cpu"
        n_visible = torch.cuda.device_count() if device.startswith("cuda") else 0
        self._silent_since_s: float | None = None
        if self.is_private:
            self.gpus = _share(workers, n_visible) if on_gpus else 0.0
            n_gpus = min(n_visible, math.ceil(workers.n * self.gpus)) if on_gpus else 0
            self._folder = SessionFolder()
            try:
                context = _start(workers, n_gpus, self._folder)
            except BaseException as error:
                self._folder.close(keep=isinstance(error, EvaluationError))  # whose logs say why
                raise
        else:
            n_gpus = n_visible
            context = _join(workers.ray)
            self.gpus = (workers.gpus or 1.0) if on_gpus else 0.0
        self._address = context.address_info["address"]
        self._raylet = Raylet(
            context.address_info["raylet_socket_name"],
            f"{context.address_info['session_dir']}/logs",
        )
        _silence()
        self.n = workers.n or self._room()
        self.devices = tuple(dict.fromkeys((device, *(f"cuda:{i}" for i in range(n_gpus)))))

    def _room(self) -> int:
        """How many workers the cluster takes."""
        import ray

        total = ray.cluster_resources()
        n = math.floor(total.get("GPU", 0) / self.gpus) if self.gpus else int(total.get("CPU", 0))
        if n < 1:
            self.close()
            raise ConfigError(
                "the Ray cluster has room for a worker",
                got=total,
                remedy="Give --workers N, or add nodes.",
            )
        return n

    def check_energy(self, *, measured: bool) -> None:
        if measured and self.gpus % 1:
            raise ConfigError(
                "workers whose energy is recorded have whole GPUs, for a card counts joules for all who use it",
                problem=f"each worker has {self.gpus:g} of a GPU",
                remedy="Use as many workers as GPUs, or --energy null.",
            )

    def evaluator(self, config: RunConfig, objectives: Objectives) -> Evaluator:
        from clso.evaluation.ray_evaluator import RayEvaluator

        if ENERGY in config.objective and not self.gpus and self.n > 1:
            raise ConfigError(
                "energy_j of single candidates is counted for a whole machine, so on CPUs it takes one worker",
                problem=f"{self.n} workers were asked for",
                remedy="Use --workers 1.",
            )
        return RayEvaluator(self, config, objectives)

    def check_alive(self) -> None:
        """Raises `EvaluationError` if the raylet is dead, or the head node has not answered for
        some time.

        To be asked every second or so.
        """
        if self._raylet.is_dead:
            self._silent_since_s = time.monotonic()  # nothing will answer, so nothing is waited for
            self.keeps_logs = True
        self._raylet.check()
        host, _, port = self._address.rpartition(":")
        try:
            socket.create_connection(
                (host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT_S
            ).close()
            self._silent_since_s = None
        except OSError as error:
            now_s = time.monotonic()
            self._silent_since_s = self._silent_since_s or now_s
            if now_s - self._silent_since_s > _GONE_S:
                raise EvaluationError(
                    "the head node of the Ray cluster answers",
                    problem=f"no answer from {self._address} ({error})",
                    remedy="The run is whole up to its last checkpoint: clso resume RUN --ray ADDRESS, or --workers N.",
                ) from error

    def close(self) -> None:
        """Leave Ray. A cluster whose head is gone is not waited for."""
        import ray

        self._raylet.close()
        thread = threading.Thread(target=ray.shutdown, name="clso-ray-shutdown", daemon=True)
        thread.start()
        thread.join(_SHUTDOWN_S if self._silent_since_s is None else _PROBE_TIMEOUT_S)
        if self.is_private:
            self._folder.close(keep=self.keeps_logs)


def _share(workers: Workers, n_gpus: int) -> float:
    """GPUs of each worker, so that all are used evenly. Ray fills one GPU before it takes the
    next."""
    n = workers.n
    if n_gpus == 0:
        raise ConfigError(
            "workers on GPUs need some",
            problem="this machine has no GPU",
            remedy="Use --device cpu.",
        )
    if workers.gpus >= 1:
        if n * workers.gpus > n_gpus:
            raise ConfigError(
                f"{n} workers with {workers.gpus:g} GPUs each fit on this machine's", got=n_gpus
            )
        return workers.gpus
    if n > n_gpus and n % n_gpus:
        raise ConfigError(
            "workers are a multiple of this machine's GPUs, so that none is idle or crowded",
            problem=f"{n} workers cannot share {n_gpus} GPUs evenly",
            remedy=f"Use --workers {n - n % n_gpus}.",
        )
    share = 1.0 if n <= n_gpus else n_gpus / n
    if workers.gpus > share:
        raise ConfigError(
            f"{n} workers with {workers.gpus:g} of a GPU each fit on this machine's", got=n_gpus
        )
    return share


@cache
def _token() -> dict[str, str]:
    """A secret of this process and those that it starts; one that is set is kept.

    Ray's own would lie in the user's home, to be read by all who use the machine. Ray takes one in
    a process's life."""
    if "RAY_AUTH_TOKEN" in os.environ or "RAY_AUTH_TOKEN_PATH" in os.environ:
        return {}
    return {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}


def _start(workers: Workers, n_gpus: int, folder: SessionFolder) -> Any:
    with _environment({**_QUIET, **_token()}), _on_loopback():
        import ray

        _require_unconnected(ray)
        try:
            context = ray.init(
                address="local",  # never somebody else's, whatever RAY_ADDRESS says
                num_cpus=workers.n,
                num_gpus=n_gpus,
                object_store_memory=workers.object_store_mb * 2**20,
                include_dashboard=False,
                _temp_dir=str(folder.path),
                log_to_driver=False,
                logging_level="error",
            )
        # of its processes or of this machine, in any form: limits, full disks, long paths
        except Exception as error:
            with suppress(Exception):
                ray.shutdown()  # of the processes that did start
            raise EvaluationError(
                "measuring in workers needs Ray",
                problem=f"Ray does not start here ({_one_line(error)})",
                remedy=f"Its logs lie in {folder.path}; TMPDIR names another place, which needs a short path and room. "
                "Without --workers nothing of it is needed.",
            ) from error
    if context.address_info["node_ip_address"] != "127.0.0.1":
        ray.shutdown()
        raise ConfigError(
            "a private Ray listens on 127.0.0.1 only",
            got=context.address_info["node_ip_address"],
            remedy="Use the version of ray in constraints.txt.",
        )
    return context


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__


def _join(address: str) -> Any:
    host, _, port = address.rpartition(":")
    is_loopback = host in ("127.0.0.1", "localhost")
    with _environment(_QUIET), _on_loopback() if is_loopback else nullcontext():
        try:
            if address != "auto":  # Ray itself would try for minutes
                socket.create_connection(
                    (host.strip("[]"), int(port)), timeout=_PROBE_TIMEOUT_S
                ).close()
            import ray

            _require_unconnected(ray)
            return ray.init(address=address, log_to_driver=False, logging_level="error")
        except (RuntimeError, ValueError, OSError, AssertionError) as error:
            with suppress(Exception):
                ray.shutdown()
            raise ConfigError(
                f"no Ray cluster answers at {address} ({_one_line(error)})",
                remedy="See `ray status --address ADDRESS`. If the cluster asks for a token, set RAY_AUTH_MODE=token and "
                "RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH.",
            ) from error


@contextmanager
def _on_loopback() -> Iterator[None]:
    """Ray takes 127.0.0.1 for this machine's address: its servers bind to that and to nothing else.

    Ray does so by itself on Windows and macOS only. (`_node_ip_address="127.0.0.1"` is turned back
    into a public address.)"""
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        # for the processes that Ray starts
        with _environment({ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR: "0"}):
            yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _silence() -> None:
    """Ray prints the deaths of workers to stdout, where a script reads our JSON, whatever
    `log_to_driver` says."""
    from ray._private import worker

    worker._worker_logs_enabled = False


def _require_unconnected(ray: Any) -> None:
    if ray.is_initialized():
        raise ConfigError(
            "one run at a time uses Ray in a process", remedy="Call ray.shutdown() first."
        )


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})
