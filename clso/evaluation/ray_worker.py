"""The worker: a Ray actor that holds space, library and token blocks, and measures batches of
genomes.

It is built from names and settings as the driver's own space is, and never from pickled code.
"""

from __future__ import annotations

import os
import socket
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray

from clso.energy.usage import Report, Usage
from clso.lazy import seldom_look_for_garbage
from clso.space import Genome
from clso.space.measuring import measure, rungs
from clso.space.results import Status
from clso.threads import wait_passively

__all__ = ["Worker", "WorkerReady", "WorkerSpec", "card_units", "host_unit", "thread_counts"]

Row = tuple[tuple[float, ...], Status, int, str | None]
"""An evaluation on its way: the driver knows its genome and rung."""

_ROLL_S = (
    1.0  # between two readings of a worker's energy: a counter's own resolution is a tenth of that
)


@dataclass(frozen=True)
class WorkerSpec:
    """What a worker is built from. `corpus` are `clso.data.shared.CorpusParts`, if the space
    reads one."""

    config: dict[str, Any]
    device: str
    threads: dict[str, int]
    corpus: Any = None


@dataclass(frozen=True)
class WorkerReady:
    """A worker says that it can work, and who it is."""

    pid: int
    node_id: str
    fidelities: tuple[int, ...]


class Worker:
    """Lives in a process of its own. `ready` builds everything; `evaluate` is called one batch
    after the other."""

    def __init__(self, spec: WorkerSpec) -> None:
        seldom_look_for_garbage()
        wait_passively()  # a cluster that was joined has not inherited it
        self._spec = spec

    def ready(self) -> WorkerReady:
        """Build the space, its library and the objective. Raises what the driver would raise,
        too."""
        from clso import plugins
        from clso.config import RunConfig
        from clso.energy import open_meter
        from clso.space.build import build_space
        from clso.space.objectives import ENERGY, Objectives

        config = RunConfig(**self._spec.config)
        device = self._spec.device
        set_threads(self._spec.threads)
        self._account = _Account(config.energy, device)
        parts = self._spec.corpus
        corpus = None if parts is None else parts.corpus(ray.get)
        plugin = plugins.load("search_spaces", config.space)
        set_threads(self._spec.threads)  # of what it has loaded
        _warm_up(device)
        with plugin.as_plugin_error("be prepared by a worker"):
            space = build_space(plugin, config, device, corpus=corpus)
            space.prepare()
            _warm_up(device)
            meter = open_meter(config.energy if ENERGY in config.objective else "null", device)
            self._objective = Objectives.of(config, space, meter).complete(space.objective())
            fidelities = rungs(self._objective)
        return WorkerReady(os.getpid(), ray.get_runtime_context().get_node_id(), fidelities)

    def evaluate(self, genomes: Sequence[Genome], fidelity: int) -> tuple[list[Row], Report]:
        """Measure a batch: for each genome what `Evaluation` says of it, and what was spent since
        birth."""
        evaluations = measure(self._objective, genomes, fidelity)
        rows = [(e.values, e.status, e.n_tokens, e.error) for e in evaluations]
        return rows, self._account.report(fresh=False)

    def report(self) -> Report:
        """What was spent up to now."""
        return self._account.report(fresh=True)


class _Account:
    """What this process spends: its source's joules without a gap from birth on, and its CPU
    seconds."""

    def __init__(self, source: str, device: str) -> None:
        from clso.energy.opening import open_source

        self._backend = open_source(source, device)
        self._usage = (
            Usage(0.0, 0.0, None)
            if self._backend.reason is None
            else Usage(None, 0.0, self._backend.reason)
        )
        self._unit = _card_unit() if device.startswith("cuda") else host_unit()
        self._read_s = time.monotonic()
        self._begin()

    def _begin(self) -> None:
        if self._usage.energy_j is not None:
            self._backend.begin()

    def report(self, *, fresh: bool) -> Report:
        """The account; read anew if that is `fresh` or a second ago."""
        from clso.energy.backend import checked_reading
        from clso.energy.cpu_time import read_cpu_time

        now_s = time.monotonic()
        if fresh or now_s - self._read_s >= _ROLL_S:
            self._read_s = now_s
            energy_j, reason = self._usage.energy_j, self._usage.reason
            if energy_j is not None:
                try:
                    energy_j += checked_reading(self._backend.end(), "J")
                # a source may raise anything: then nothing is known from here on
                except Exception as error:
                    energy_j, reason = None, str(error) or type(error).__name__
            self._usage = Usage(energy_j, read_cpu_time().own_s, reason)
            self._begin()
        return Report(self._unit, self._usage)


def host_unit() -> str:
    """A name of this machine, the same in all of its containers."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()


def _card_unit() -> str:
    import torch

    properties = torch.cuda.get_device_properties(0)
    return str(
        getattr(properties, "uuid", None)
        or f"{host_unit()} {os.environ.get('CUDA_VISIBLE_DEVICES')}"
    )


def card_units() -> list[str]:
    """Names of all cards that this process sees."""
    import torch

    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [str(getattr(p, "uuid", "")) for p in found]


def thread_counts() -> dict[str, int]:
    """How many threads this process computes with: the last bits of a sum depend on it."""
    import torch
    from threadpoolctl import threadpool_info

    counts = {pool["user_api"]: int(pool["num_threads"]) for pool in threadpool_info()}
    return {**counts, "torch": torch.get_num_threads()}


def set_threads(counts: dict[str, int]) -> None:
    """Compute with as many threads as the driver does, so that the results are the same to the last
    bit.

    Torch is not loaded for it: a space that does without starts seconds earlier."""
    from threadpoolctl import threadpool_limits

    limits = dict(counts)
    n_torch = limits.pop("torch")
    os.environ["OMP_NUM_THREADS"] = str(n_torch)  # read when torch is loaded
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n_torch)
    threadpool_limits(limits)


def _warm_up(device: str) -> None:
    if device == "cpu" and "torch" in sys.modules:
        from clso.device import warm_up_cpu

        warm_up_cpu()
