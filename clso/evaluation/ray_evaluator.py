"""The driver's side: sends batches to Ray actors, takes the answers as they come, replaces workers
that die.

`ray.util.ActorPool` loses the work of an actor that dies, so the dispatcher decides, on what
`ray.wait` reports."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Protocol

import ray
from ray.exceptions import RayError, RayTaskError

from clso.energy.usage import Accounts, Report, Usage
from clso.errors import ClsoError, ConfigError, EvaluationError
from clso.evaluation.dispatch import Dispatcher, Task
from clso.evaluation.evaluator import Evaluator
from clso.evaluation.ray_worker import (
    Worker,
    WorkerReady,
    WorkerSpec,
    card_units,
    host_unit,
    thread_counts,
)
from clso.space import Genome
from clso.space.language import LanguageModelSpace
from clso.space.results import Evaluation

if TYPE_CHECKING:
    from clso.config import RunConfig
    from clso.evaluation.workers import Workers
    from clso.space.objectives import Objectives

__all__ = ["RayEvaluator"]

_TICK_S = 1.0  # how often hung workers and a lost head node are looked for
# for each worker, between two rounds of asking all for their accounts: one takes a millisecond of
# it
_POLL_S = 0.01
_REPORT_S = 10.0  # an idle worker answers at once, or it has no news


class Cluster(Protocol):
    """What an evaluator asks of the Ray that it works in; `clso.evaluation.ray_session` has it."""

    workers: Workers
    n: int
    gpus: float
    worker_device: str
    devices: tuple[str, ...]
    is_private: bool
    keeps_logs: bool

    def check_alive(self) -> None:
        """Raises `EvaluationError` if the cluster no longer answers."""


class RayEvaluator(Evaluator):
    """Measures in the workers of `cluster`. On CPUs its evaluations equal `LocalEvaluator`'s to the
    last bit.

    Waits until the first worker is ready; the others join in as they come.

    Raises:
        ConfigError, PluginError, ...: whatever building the space raises, here or there.
        EvaluationError: no worker can be started.
    """

    def __init__(self, cluster: Cluster, config: RunConfig, objectives: Objectives) -> None:
        self._cluster, self._limits = cluster, cluster.workers
        in_flight = cluster.workers.in_flight or max(
            4, -(-config.pop // cluster.n) if cluster.gpus else 0
        )
        self._dispatcher = Dispatcher(
            attempts=cluster.workers.attempts,
            timeout_s=cluster.workers.timeout_s,
            batch=max(1, in_flight // 2) if config.asynchronous else None,
            even=cluster.gpus > 0,
        )
        self.capacity = cluster.n * in_flight
        self._actors: dict[int, Any] = {}
        self._pids: dict[int, int] = {}  # of those that can be killed from here
        self._starting: dict[Any, int] = {}
        self._running: dict[Any, tuple[int, Task]] = {}
        self._done: list[Evaluation] = []
        self._n_born = self._n_failed_starts = 0
        self._polled_s, self._looked_s = 0.0, time.monotonic()
        self._waiting_since_s = self._looked_s  # for a first worker
        self._accounts = Accounts(
            {host_unit(), *card_units()} if cluster.devices[0] != "cpu" else {host_unit()}
        )
        self._node_id = ray.get_runtime_context().get_node_id()
        self.threads = thread_counts()
        spec = WorkerSpec(
            asdict(config), cluster.worker_device, self.threads, self._share(objectives)
        )
        self._spec = ray.put(spec)
        self._remote = ray.remote(Worker)
        try:
            for _ in range(cluster.n):
                self._spawn()
            while len(self._starting) == len(self._actors):
                self._wait()
        except BaseException:
            self.close()
            raise

    @staticmethod
    def _share(objectives: Objectives) -> Any:
        """The corpus, put into the object store once."""
        if not isinstance(objectives.space, LanguageModelSpace):
            return None
        from clso.data.shared import share

        try:
            return share(objectives.space.corpus, ray.put)
        except (RayError, OSError) as error:
            raise ConfigError(
                "the object store holds the tokens",
                problem=f"Ray's object store is too small ({str(error).splitlines()[0]})",
                remedy="Set object_store_mb in the recipe's table [workers] higher.",
            ) from error

    def submit(self, genomes: Sequence[Genome], fidelity: int) -> None:
        self._dispatcher.submit(genomes, fidelity)
        self._send()

    def completed(self) -> list[Evaluation]:
        while not self._done and self._dispatcher.busy:
            self._wait()
        done, self._done = self._done, []
        return done

    def usage(self) -> Usage:
        if self._cluster.is_private:
            # the driver's meter sees this machine, and its CPU time includes its descendants'
            return Usage()
        now_s = time.monotonic()
        if now_s - self._polled_s < _POLL_S * len(self._actors):
            return self._accounts.total()
        self._polled_s = now_s
        asked = {
            self._actors[w].report.remote(): w for w in self._actors if self._dispatcher.is_idle(w)
        }
        ready, _ = (
            ray.wait(list(asked), num_returns=len(asked), timeout=_REPORT_S) if asked else ([], [])
        )
        for reference in ready:
            with suppress(RayError):  # its next batch will show that it is dead
                self._accounts.update(asked[reference], ray.get(reference))
        return self._accounts.total()

    def close(self) -> None:
        for worker in list(self._actors):
            self._dismiss(worker)

    def _spawn(self) -> None:
        self._n_born += 1
        worker = self._n_born
        actor = self._remote.options(
            num_cpus=1,
            num_gpus=self._cluster.gpus,
            max_restarts=0,
            max_task_retries=0,
            enable_task_events=False,  # the run's record has all of them
            scheduling_strategy="DEFAULT" if self._cluster.is_private else "SPREAD",
        ).remote(self._spec)
        self._actors[worker] = actor
        self._starting[actor.ready.remote()] = worker

    def _send(self) -> None:
        for worker, task in self._dispatcher.assign(time.monotonic()):
            reference = self._actors[worker].evaluate.remote(task.genomes, task.fidelity)
            self._running[reference] = worker, task

    def _wait(self) -> None:
        """Wait for news, at most a tick, and act on all of it."""
        references = [*self._running, *self._starting]
        # a busy driver asks once for many
        ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
        if not ready:
            ready, _ = ray.wait(references, timeout=_TICK_S)
        for reference in ready:
            self._take(reference)
        now_s = time.monotonic()
        if now_s - self._looked_s >= _TICK_S:
            self._looked_s = now_s
            self._check_timeouts(now_s)
        self._send()

    def _take(self, reference: Any) -> None:
        if reference in self._starting:
            worker = self._starting.pop(reference)
            answer = self._answer(reference, worker, starting=True)
            if answer is not None:
                self._worker_ready(worker, answer)
        elif reference in self._running:  # not of a worker that was buried a moment ago
            worker, task = self._running.pop(reference)
            answer = self._answer(reference, worker, starting=False)
            if answer is not None:
                rows, report = answer
                self._dispatcher.finished(worker, time.monotonic())
                self._done += [
                    Evaluation(genome, task.fidelity, *row)
                    for genome, row in zip(task.genomes, rows, strict=True)
                ]
                self._account(worker, report)

    def _answer(self, reference: Any, worker: int, *, starting: bool) -> Any:
        """What a worker answered; None if it died."""
        try:
            return ray.get(reference)
        except RayTaskError as error:  # the worker lives: its code raised
            cause = error.cause
            if isinstance(cause, (ClsoError, OSError)):
                raise cause from error
            rule = (
                "a worker can build the space"
                if starting
                else "an objective reports a failure as a status"
            )
            remedy = "Set CLSO_TRACEBACK=1 to see the traceback."
            raise EvaluationError(
                rule, problem=f"a worker raised {type(cause).__name__}: {cause}", remedy=remedy
            ) from error
        except RayError as error:
            self._replace_worker(worker, f"{type(error).__name__}: {error}", starting=starting)
            return None

    def _worker_ready(self, worker: int, ready: WorkerReady) -> None:
        if not hasattr(self, "fidelities"):
            self.fidelities = ready.fidelities
        if ready.fidelities != self.fidelities:
            raise EvaluationError(
                f"all workers have the rungs {self.fidelities}", got=ready.fidelities
            )
        self._n_failed_starts = 0
        if ready.node_id == self._node_id:
            self._pids[worker] = ready.pid
        self._dispatcher.add_worker(worker)

    def _replace_worker(self, worker: int, reason: str, *, starting: bool = False) -> None:
        """Replace a dead worker; what it had goes back into the queue."""
        self._cluster.keeps_logs = True
        self._dismiss(worker)
        self._running = {r: (w, t) for r, (w, t) in self._running.items() if w != worker}
        self._starting = {r: w for r, w in self._starting.items() if w != worker}
        if not self._cluster.is_private:
            self._accounts.died(worker)
        self._done += self._dispatcher.lost(worker, reason)
        self._n_failed_starts += starting
        if self._n_failed_starts >= self._limits.attempts * self._cluster.n:
            raise EvaluationError(
                "workers live long enough to start",
                problem=f"{self._n_failed_starts} starts failed, the last with {reason[:500]}",
            )
        self._spawn()

    def _dismiss(self, worker: int) -> None:
        self._pids.pop(worker, None)
        with suppress(RayError):
            ray.kill(self._actors.pop(worker))

    def _check_timeouts(self, now_s: float) -> None:
        """Look for workers that hang, and whether the cluster is still there."""
        for worker in self._dispatcher.overdue(now_s):
            if worker in self._pids:
                with suppress(ProcessLookupError):
                    # a process that is stopped does not hear Ray
                    os.kill(self._pids[worker], signal.SIGKILL)
            self._replace_worker(worker, f"no answer within {self._limits.timeout_s:g} s")
        self._cluster.check_alive()
        if len(self._starting) < len(self._actors):
            self._waiting_since_s = now_s
        elif now_s - self._waiting_since_s > self._limits.start_timeout_s:
            raise EvaluationError(
                f"a worker is ready within {self._limits.start_timeout_s:g} s",
                problem=f"{len(self._starting)} workers were asked for and none came",
                remedy="See `ray status`: the cluster may have no room.",
            )

    def _account(self, worker: int, report: Report) -> None:
        if not self._cluster.is_private:
            self._accounts.update(worker, report)
