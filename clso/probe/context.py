"""What a group of metrics is measured with: a model, examples of test, a meter, and passes over
them."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from clso.energy import EnergyMeter
from clso.probe.settings import ProbeSettings
from clso.profiling.memory import LiveBytes
from clso.tasks.base import Examples, Task
from clso.tasks.scoring import Batch, answers, make_batch

__all__ = [
    "Context",
    "Step",
    "config_of",
    "mean_energy",
    "median_time",
    "peak_bytes",
    "synchronise",
]


@dataclass(frozen=True)
class Context:
    """One model of one seed. `examples` are the first of test; `spec` builds its like."""

    model: nn.Module
    task: Task
    settings: ProbeSettings
    meter: EnergyMeter
    examples: Examples

    @property
    def device(self) -> str:
        return self.settings.device

    @property
    def on_cpu(self) -> bool:
        return self.device == "cpu"

    def one(self, row: int) -> Batch:
        """One example, without padding."""
        return make_batch(self.examples, np.array([row]), self.device)

    def batch(self) -> Batch:
        """As many examples as training has in a batch, if there are as many."""
        n = min(self.settings.batch, len(self.examples))
        return make_batch(self.examples, np.arange(n), self.device)


def config_of(model: nn.Module) -> Any:
    """What the model was built from: a dataclass with at least `SequenceConfig`'s fields."""
    return model.config


class Step:
    """A training step on a copy of a model, which leaves the model as it is."""

    def __init__(self, model: nn.Module, batch: Batch) -> None:
        self.model, self.batch = copy.deepcopy(model).train(), batch
        fused = batch.tokens.is_cuda  # as in training
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-4, fused=fused)

    def __call__(self) -> None:
        self.optimizer.zero_grad()
        logits, targets = answers(self.model, self.batch)
        torch.autograd.backward(F.cross_entropy(logits.float(), targets))
        self.optimizer.step()

    def held(self) -> list[torch.Tensor]:
        """What is alive between steps, after the first."""
        states = [
            value
            for state in self.optimizer.state.values()
            for value in state.values()
            if isinstance(value, torch.Tensor)
        ]
        return [*self.model.parameters(), *self.model.buffers(), *states, self.batch.tokens]


def synchronise(device: str) -> None:
    """Wait for a CUDA device; a CPU has nothing queued."""
    if device != "cpu":
        torch.cuda.synchronize(device)


def median_time(work: Callable[[], object], device: str, repeats: int) -> float:
    """Median seconds of `work`, after two calls that are not counted."""
    return float(np.median(times_of([work] * repeats, device)))


def times_of(works: list[Callable[[], object]], device: str) -> list[float]:
    """Seconds of each, after the first has been called twice to warm up."""
    for _ in range(2):
        works[0]()
    found = []
    for work in works:
        synchronise(device)
        start_s = time.perf_counter()
        work()
        synchronise(device)
        found.append(time.perf_counter() - start_s)
    return found


def peak_bytes(work: Callable[[], object], held: list[torch.Tensor], device: str) -> int:
    """Most bytes alive during `work`, `held` included: counted on a CPU, the allocator's on CUDA,
    less what else is alive there, such as other models."""
    if device == "cpu":
        with LiveBytes(held) as live:
            work()
        return int(live.peak_bytes)
    work()  # what libraries allocate on first use
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    gradients = [t.grad for t in held if t.grad is not None]  # of the last time
    own = sum(t.numel() * t.element_size() for t in (*held, *gradients))
    del gradients
    work()
    torch.cuda.synchronize(device)
    return int(torch.cuda.max_memory_allocated(device)) - before + own


def mean_energy(
    work: Callable[[], object], meter: EnergyMeter, min_time_s: float
) -> tuple[float | None, str | None]:
    """Gross joules of one call of `work`, repeated until the source can tell; or None, and why."""
    if meter.reason is not None:
        return None, meter.reason
    least_s = max(min_time_s, 12 * meter.resolution_s)
    n = 0
    with meter.window("probe", record=False) as window:
        start_s = meter.clock()
        while meter.clock() - start_s < least_s:
            work()
            n += 1
    if window.energy_j is None:
        return None, window.reason
    return window.energy_j / n, None
