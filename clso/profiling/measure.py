"""One cell of a profile: one model at one length, measured pass by pass."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import nn
from torch.nn import functional as F

from clso.energy import EnergyMeter
from clso.profiling.flops import flop_counter
from clso.profiling.memory import LiveBytes, describe_out_of_memory, is_out_of_memory, limited

__all__ = ["Row", "Subject", "measure"]

Status = Literal["ok", "out-of-memory", "failed", "skipped"]

_WARM_UP = 2
_LONG_S = 1.0  # a pass this long is warm after one
_MOST_REPEATS = 10_000
_ENERGY_ATTEMPTS = 4


@dataclass(frozen=True)
class Row:
    """What was measured of one model at one length. A figure that was not is None, and `notes` says why.

    Attributes:
        status: "ok", or why the figures end: "out-of-memory", "failed" (the model raised), "skipped" (a shorter
            length did not fit).
        reason: of a status other than "ok".
        flops_forward: of the batch's forward pass, counted; `flops_backward` likewise.
        flops_forward_formula: the model's own, for the batch; `flops_difference` is counted / formula - 1.
        forward_time_s, backward_time_s: means over `n_repeats`, with sample standard deviations.
        peak_bytes: most memory alive during a forward and backward pass, weights and gradients included.
        activation_bytes: what the forward pass leaves behind for the backward pass, weights not included.
        gradient_norm: L2 norm of all gradients of the mean loss at initialisation.
        energy_j, energy_net_j: of one forward and backward pass, gross and above idle.
    """

    model: str
    length: int
    batch: int
    status: Status = "ok"
    reason: str | None = None
    parameters: int | None = None
    loss: float | None = None
    flops_forward: int | None = None
    flops_forward_formula: int | None = None
    flops_difference: float | None = None
    flops_backward: int | None = None
    forward_time_s: float | None = None
    forward_time_std_s: float | None = None
    backward_time_s: float | None = None
    backward_time_std_s: float | None = None
    n_repeats: int | None = None
    peak_bytes: int | None = None
    activation_bytes: int | None = None
    gradient_norm: float | None = None
    energy_j: float | None = None
    energy_net_j: float | None = None
    notes: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """A model on its device with one fixed batch: tokens (batch, length), targets as `loss` takes them."""

    model: nn.Module
    tokens: torch.Tensor
    targets: torch.Tensor

    @classmethod
    def draw(cls, model: nn.Module, batch: int, length: int, vocab_size: int, n_classes: int, seed: int) -> Subject:
        """Uniform tokens from `seed`, on the model's device; a language model's targets are the tokens that follow."""
        device = next(model.parameters()).device
        generator = torch.Generator().manual_seed(seed)
        tokens = torch.randint(vocab_size, (batch, length + 1), generator=generator)
        targets = torch.randint(n_classes, (batch,), generator=generator) if n_classes else tokens[:, 1:].contiguous()
        return cls(model, tokens[:, :-1].contiguous().to(device), targets.to(device))

    @property
    def device(self) -> torch.device:
        return self.tokens.device

    def loss(self) -> torch.Tensor:
        """The mean cross-entropy in nats: the forward pass."""
        logits: torch.Tensor = self.model(self.tokens)
        return F.cross_entropy(logits.flatten(0, -2), self.targets.flatten())

    def clear(self) -> None:
        """Drop the gradients, so that every pass allocates its own."""
        self.model.zero_grad(set_to_none=True)

    def held(self) -> list[torch.Tensor]:
        """What is alive before a pass."""
        return [*self.model.parameters(), *self.model.buffers(), self.tokens, self.targets]


def measure(
    make: Callable[[], Subject],
    base: Row,
    *,
    repeats: int,
    min_time_s: float,
    budget_bytes: int | None,
    meter: EnergyMeter,
) -> Row:
    """`base` with every figure that can be had; what fails ends the cell, keeps its figures, and is a status.

    `make` builds the subject, inside the budget. Only `KeyboardInterrupt` and its like come out.
    """
    values: dict[str, Any] = {}
    notes: dict[str, str] = {}
    status: dict[str, str] = {}
    try:
        with limited(budget_bytes):
            subject = make()
            values["parameters"] = sum(p.numel() for p in subject.model.parameters() if p.requires_grad)
            steps: tuple[Callable[[], dict[str, Any]], ...] = (
                lambda: _count(subject, budget_bytes, notes),
                lambda: _peak(subject),
                lambda: _time(subject, repeats, min_time_s, notes),
                lambda: _energy(subject, values, min_time_s, meter, notes),
            )
            for step in steps:
                values |= step()
                subject.clear()
    except Exception as error:  # a model is foreign code: it may raise anything
        if is_out_of_memory(error):
            status = {"status": "out-of-memory", "reason": describe_out_of_memory(error)}
        else:
            status = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    subject = None  # type: ignore[assignment]  # before the next cell is built
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return Row(**{**vars(base), **values, **status, "notes": notes})


def _count(subject: Subject, budget_bytes: int | None, notes: dict[str, str]) -> dict[str, Any]:
    """One forward and backward pass under the counters of FLOPs and, on a CPU, of live bytes."""
    on_cpu = subject.device.type == "cpu"
    live = LiveBytes(subject.held() if on_cpu else [], budget_bytes if on_cpu else None)
    with flop_counter() as counter, live:
        loss = subject.loss()
        forward, activation_bytes = counter.get_total_flops(), live.live_bytes - live.held_bytes
        torch.autograd.backward(loss)
        total = counter.get_total_flops()
    gradients = [p.grad for p in subject.model.parameters() if p.grad is not None]
    norm = math.sqrt(sum(g.double().square().sum().item() for g in gradients))
    found: dict[str, Any] = {
        "loss": loss.item(),
        "flops_forward": forward,
        "flops_backward": total - forward,
        "gradient_norm": norm if math.isfinite(norm) else None,
    }
    if not math.isfinite(norm):
        notes["gradient_norm"] = f"the norm is {norm}"
    if not math.isfinite(found["loss"]):
        notes["loss"], found["loss"] = f"the loss is {found['loss']}", None
    if on_cpu:
        found |= {"peak_bytes": live.peak_bytes, "activation_bytes": activation_bytes}
    return found | _formula(subject, forward, notes)


def _formula(subject: Subject, counted: int, notes: dict[str, str]) -> dict[str, Any]:
    formula = getattr(subject.model, "forward_flops", None)
    if formula is None:
        notes["flops_forward_formula"] = "the model states no forward_flops"
        return {}
    batch, length = subject.tokens.shape
    stated = batch * int(formula(length))
    if stated <= 0:
        notes["flops_difference"] = "the model's formula is not positive"
        return {"flops_forward_formula": stated}
    return {"flops_forward_formula": stated, "flops_difference": counted / stated - 1}


def _peak(subject: Subject) -> dict[str, Any]:
    """On CUDA the allocator's peak over a pass that nothing else watches; on a CPU `_count` has it."""
    if subject.device.type != "cuda":
        return {}
    device = subject.device
    torch.autograd.backward(subject.loss())  # libraries allocate their workspaces on first use
    subject.clear()
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    loss = subject.loss()
    activation_bytes = torch.cuda.memory_allocated(device) - before
    torch.autograd.backward(loss)
    torch.cuda.synchronize(device)
    return {"peak_bytes": torch.cuda.max_memory_allocated(device), "activation_bytes": activation_bytes}


def _time(subject: Subject, repeats: int, min_time_s: float, notes: dict[str, str]) -> dict[str, Any]:
    once = _cuda_times if subject.device.type == "cuda" else _cpu_times
    for _ in range(_WARM_UP):
        if sum(once(subject)) > _LONG_S:
            break
    pairs: list[tuple[float, float]] = []
    start_s = time.perf_counter()
    while len(pairs) < repeats or (time.perf_counter() - start_s < min_time_s and len(pairs) < _MOST_REPEATS):
        pairs.append(once(subject))
    found: dict[str, Any] = {"n_repeats": len(pairs)}
    for name, times in zip(("forward", "backward"), zip(*pairs, strict=True), strict=True):
        found[f"{name}_time_s"] = statistics.fmean(times)
        if len(times) > 1:
            found[f"{name}_time_std_s"] = statistics.stdev(times)
        else:
            notes[f"{name}_time_std_s"] = "one repetition has no spread"
    return found


def _cpu_times(subject: Subject) -> tuple[float, float]:
    subject.clear()
    start_s = time.perf_counter()
    loss = subject.loss()
    middle_s = time.perf_counter()
    torch.autograd.backward(loss)
    return middle_s - start_s, time.perf_counter() - middle_s


def _cuda_times(subject: Subject) -> tuple[float, float]:
    """Seconds between events on the device's own stream."""
    subject.clear()
    with torch.cuda.device(subject.device):
        start, middle, end = (torch.cuda.Event(enable_timing=True) for _ in range(3))  # type: ignore[no-untyped-call]
        torch.cuda.synchronize()
        start.record()
        loss = subject.loss()
        middle.record()
        torch.autograd.backward(loss)
        end.record()
        torch.cuda.synchronize()
    return start.elapsed_time(middle) / 1e3, middle.elapsed_time(end) / 1e3


def _energy(
    subject: Subject, values: dict[str, Any], min_time_s: float, meter: EnergyMeter, notes: dict[str, str]
) -> dict[str, Any]:
    """Joules of one pass, from a window of as many passes as the source's resolution asks for."""
    if meter.reason is not None:
        notes["energy_j"] = notes["energy_net_j"] = meter.reason
        return {}
    pass_s = values["forward_time_s"] + values["backward_time_s"]
    n = max(1, math.ceil(max(min_time_s, 12 * meter.backend.resolution_s) / pass_s))
    for _ in range(_ENERGY_ATTEMPTS):
        with meter.window("profile", record=False) as window:
            for _ in range(n):
                subject.clear()
                torch.autograd.backward(subject.loss())
        if not window.short:
            break
        n *= 2
    if window.energy_j is None or window.short:
        reason = window.reason or f"{window.time_s:.3f} s is too short for {meter.source}"
        notes["energy_j"] = notes["energy_net_j"] = reason
        return {}
    if window.energy_net_j is None:
        notes["energy_net_j"] = meter.idle_reason or "idle power was not measured"
        return {"energy_j": window.energy_j / n}
    return {"energy_j": window.energy_j / n, "energy_net_j": window.energy_net_j / n}
