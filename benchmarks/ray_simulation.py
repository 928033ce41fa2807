"""The dispatcher at up to 1,024 workers, in simulated time: what a driver can keep busy.

Workers and network are simulated, the dispatcher is the real one. A worker takes as long over a
candidate as one that was recorded; the driver is one process that spends `Costs`
(`benchmarks/ray_scaling.py` measures them on a real Ray), plus what the dispatcher's own code takes
here and now."""

from __future__ import annotations

import heapq
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from clso.evaluation.dispatch import Dispatcher, Task

__all__ = ["Costs", "Simulated", "simulate"]


@dataclass(frozen=True)
class Costs:
    """Seconds of the driver's time, and what a worker takes over a batch besides its candidates."""

    send_s: float
    receive_s: float
    candidate_s: float
    wait_s: float
    """One `ray.wait`, and"""
    wait_each_s: float
    """what it takes for each batch that is out."""
    batch_s: float


@dataclass(frozen=True)
class Simulated:
    """One simulation. `efficiency` is the share of the workers' time that went into candidates."""

    n_workers: int
    efficiency: float
    driver_busy: float
    """Share of the time in which the driver was at work."""
    candidates_per_s: float
    dispatcher_s: float
    """Measured seconds of the dispatcher's own code for each candidate."""


class _Cluster:
    """Workers that take their batches in order. Events are (time, worker) of finished batches."""

    def __init__(
        self, n_workers: int, times_s: Sequence[float], costs: Costs, rng: random.Random
    ) -> None:
        self._times_s, self._costs, self._rng = times_s, costs, rng
        self._free_s = [0.0] * n_workers
        self.finished: list[tuple[float, int, int]] = []  # or to be; all that is out
        self.worked_s = 0.0

    def start(self, worker: int, task: Task, now_s: float) -> None:
        work_s = sum(self._rng.choice(self._times_s) for _ in task.genomes)
        self.worked_s += work_s
        self._free_s[worker] = max(self._free_s[worker], now_s) + self._costs.batch_s + work_s
        heapq.heappush(self.finished, (self._free_s[worker], worker, len(task.genomes)))


def simulate(
    n_workers: int,
    times_s: Sequence[float],
    costs: Costs,
    *,
    per_worker: int = 64,
    rounds: int = 10,
    steady: bool = True,
    seed: int = 0,
) -> Simulated:
    """Measure `rounds * per_worker` candidates a worker, `per_worker` of them out at a time.

    Args:
        times_s: recorded seconds of single candidates, drawn from at random.
        steady: each answered candidate is replaced at once; else all wait for the last of a
        generation.
    """
    cluster = _Cluster(n_workers, times_s, costs, random.Random(seed))
    dispatcher = Dispatcher(attempts=3, timeout_s=1e9, batch=per_worker // 2 if steady else None)
    for worker in range(n_workers):
        dispatcher.add_worker(worker)
    genome, size = (0,), n_workers * per_worker
    to_submit, now_s, busy_s, own_s = rounds * size, 0.0, 0.0, 0.0

    def submit(n: int) -> None:
        nonlocal to_submit
        n = min(n, to_submit)
        to_submit -= n
        dispatcher.submit([genome] * n, 0)

    def spend(seconds: float) -> None:
        nonlocal now_s, busy_s
        now_s += seconds
        busy_s += seconds

    submit(size)
    spend(size * costs.candidate_s)
    while dispatcher.busy:
        begin = time.perf_counter()
        tasks = dispatcher.assign(now_s)
        took_s = time.perf_counter() - begin
        own_s += took_s
        spend(took_s)
        for worker, task in tasks:
            spend(costs.send_s)
            cluster.start(worker, task, now_s)
        spend(costs.wait_s + costs.wait_each_s * len(cluster.finished))
        if cluster.finished[0][0] > now_s:
            now_s = cluster.finished[0][0]
            spend(costs.wait_s)
        arrived = []  # when the driver looks; what comes meanwhile waits until it looks again
        while cluster.finished and cluster.finished[0][0] <= now_s:
            arrived.append(heapq.heappop(cluster.finished))
        for _, worker, n in arrived:
            begin = time.perf_counter()
            dispatcher.finished(worker, now_s)
            took_s = time.perf_counter() - begin
            own_s += took_s
            spend(took_s + costs.receive_s + n * costs.candidate_s)
        if steady:
            submit(sum(n for _, _, n in arrived))
        elif not dispatcher.busy:
            submit(size)
    n_candidates = rounds * size
    return Simulated(
        n_workers,
        cluster.worked_s / (n_workers * now_s),
        busy_s / now_s,
        n_candidates / now_s,
        own_s / n_candidates,
    )
