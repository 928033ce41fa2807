"""One cell of a profile: one model at one length, measured pass by pass."""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal

import torch

from clso.energy import EnergyMeter
from clso.profiling.memory import describe_out_of_memory, is_out_of_memory, limited
from clso.profiling.settings import ProfileSettings
from clso.profiling.subject import Subject
from clso.profiling.watch import OverTime, Watch

__all__ = ["Row", "measure"]

Status = Literal["ok", "out-of-memory", "failed", "skipped"]

_WARM_UP = 2
_LONG_S = 1.0  # a pass this long is warm after one
_MOST_REPEATS = 10_000


@dataclass(frozen=True)
class Row:
    """What was measured of one model at one length. A figure that was not is None, and `notes` says
    why.

    Attributes:
        status: "ok", or why the figures end: "out-of-memory", "failed" (the model raised),
            "skipped" (it took too long, or a shorter length did, or did not fit).
        reason: of a status other than "ok".
        flops_forward: of the batch's forward pass, counted; `flops_backward` likewise. If operators
            ran that have no formula, it is a lower bound, and `notes` names them.
        flops_forward_formula: the model's own, for the batch; `flops_difference` is counted /
        formula - 1.
        watched_time_s: of the pass in which FLOPs (and bytes, on a CPU) were counted, which slows
        it down.
        forward_time_s, backward_time_s: means over `n_repeats`, with sample standard deviations.
        peak_bytes: most memory alive during a forward and backward pass, weights and gradients
        included.
        activation_bytes: what the forward pass leaves behind for the backward pass, weights not
        included.
        gradient_norm: L2 norm of all gradients of the mean loss at initialisation.
        energy_j, energy_net_j: of one forward and backward pass, gross and above idle.
        layout, document_lengths: how a batch of documents lies, and their tokens; `n_tokens` of them in `n_slots` slots.
        step_time_s: of forward, backward and a step of the optimizer; `peak_bytes` is then of all three.
        attention_backend: how attention is executed, as far as the model says.
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
    watched_time_s: float | None = None
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
    layout: str | None = None
    document_lengths: list[int] | None = None
    n_tokens: int | None = None
    n_slots: int | None = None
    step_time_s: float | None = None
    step_time_std_s: float | None = None
    attention_backend: str | None = None
    notes: dict[str, str] = field(default_factory=dict)


def measure(
    make: Callable[[], Subject],
    base: Row,
    settings: ProfileSettings,
    meter: EnergyMeter,
    *,
    watched_s: float = 0.0,
) -> Row:
    """`base` with every figure that can be had; what fails ends the cell, keeps its figures, and is
    a status.

    `make` builds the subject, inside the budget. Of `settings` the cell's own are used: repeats,
    seconds and bytes. Only `KeyboardInterrupt` and its like come out. No
    pass begins, and no watched one goes on, `max_time_s` after the start. Counting slows a pass of
    many small operators down tenfold. A card's memory is known without it, so there it comes last,
    and only if the `watched_s` that it may take are left."""
    values: dict[str, Any] = {}
    notes: dict[str, str] = {}
    status: dict[str, str] = {}
    budget_bytes = settings.memory_budget_bytes
    deadline_s = time.perf_counter() + settings.max_time_s

    def steps(subject: Subject) -> Iterator[dict[str, Any]]:
        yield {"parameters": sum(p.numel() for p in subject.model.parameters() if p.requires_grad)}
        on_cpu = subject.device.type == "cpu"
        if on_cpu:
            yield _count(subject, budget_bytes, deadline_s, notes)
        yield _warm_up(subject, notes)
        yield _time(subject, settings, deadline_s, meter, notes)
        if not on_cpu:
            yield _counted_last(subject, watched_s, deadline_s, notes)

    device, subject = torch.device("cpu"), None
    try:
        with limited(budget_bytes):
            subject = make()
            device = subject.device
            for found in steps(subject):
                values |= found
                subject.clear()
                if time.perf_counter() > deadline_s and "n_repeats" not in values:
                    raise OverTime
    except OverTime:
        status = {"status": "skipped", "reason": f"over {settings.max_time_s:g} s"}
    except Exception as error:  # a model is foreign code: it may raise anything
        if is_out_of_memory(error):
            status = {"status": "out-of-memory", "reason": describe_out_of_memory(error)}
        else:
            status = {"status": "failed", "reason": f"{type(error).__name__}: {error}"}
    subject = None  # before the next cell is built
    gc.collect()
    if device.type == "cuda":
        # what outlives the model are workspaces of libraries, allocated on first use
        if "peak_bytes" in values:
            values["peak_bytes"] -= torch.cuda.memory_allocated(device)
        torch.cuda.empty_cache()
    return Row(**{**vars(base), **values, **status, "notes": notes})


def _count(
    subject: Subject, budget_bytes: int | None, deadline_s: float, notes: dict[str, str]
) -> dict[str, Any]:
    """One forward and backward pass under the counters of FLOPs and, on a CPU, of live bytes."""
    on_cpu = subject.device.type == "cpu"
    start_s = time.perf_counter()
    forward = activation_bytes = 0
    with Watch(
        subject.held() if on_cpu else [], budget_bytes if on_cpu else None, deadline_s
    ) as watch:
        uncounted_forward: Counter[str] = Counter()
        for forward_pass in subject.micro_batches():
            before, held_bytes, uncounted = watch.flops, watch.live_bytes, watch.uncounted.copy()
            loss = forward_pass()
            forward += watch.flops - before
            uncounted_forward += watch.uncounted - uncounted
            activation_bytes = max(activation_bytes, watch.live_bytes - held_bytes)
            torch.autograd.backward(loss)
            del loss
        subject.step()
    _note_uncounted("flops_forward", uncounted_forward, notes)
    _note_uncounted("flops_backward", watch.uncounted - uncounted_forward, notes)
    found: dict[str, Any] = {
        "flops_forward": forward,
        "flops_backward": watch.flops - forward,
        "watched_time_s": time.perf_counter() - start_s,
    }
    if on_cpu:
        found |= {"peak_bytes": watch.peak_bytes, "activation_bytes": activation_bytes}
    return found | _formula(subject, forward, notes)


def _note_uncounted(figure: str, operators: Counter[str], notes: dict[str, str]) -> None:
    if operators:
        names = ", ".join(f"{name} x {n}" for name, n in sorted(operators.items()))
        notes[figure] = f"without {names}, for which there is no formula"


def _counted_last(
    subject: Subject, watched_s: float, deadline_s: float, notes: dict[str, str]
) -> dict[str, Any]:
    """`_count` if there is time for it; otherwise only what the model states."""
    try:
        if time.perf_counter() + watched_s > deadline_s:
            raise OverTime
        return _count(subject, None, deadline_s, notes)
    except OverTime:
        notes["flops_forward"] = notes["flops_backward"] = "counting would have taken too long"
        return _formula(subject, None, notes)


def _warm_up(subject: Subject, notes: dict[str, str]) -> dict[str, Any]:
    """Passes that nothing watches: loss, gradient norm and, on CUDA, the allocator's peak."""
    device, on_cuda = subject.device, subject.device.type == "cuda"
    found: dict[str, Any] = {}
    for turn in range(_WARM_UP):
        subject.clear()
        start_s = time.perf_counter()
        losses, activation_bytes = [], 0
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(device)
        for forward_pass in subject.micro_batches():
            before = torch.cuda.memory_allocated(device) if on_cuda else 0
            loss = forward_pass()
            if on_cuda:
                activation_bytes = max(
                    activation_bytes, torch.cuda.memory_allocated(device) - before
                )
            torch.autograd.backward(loss)
            losses.append(loss.detach())
            del loss
        if turn == 0:  # a step changes the weights
            gradients = [p.grad for p in subject.model.parameters() if p.grad is not None]
            found["gradient_norm"] = math.sqrt(
                sum(g.double().square().sum().item() for g in gradients)
            )
            found["loss"] = math.fsum(loss.item() for loss in losses)
            del gradients
        subject.step()
        if on_cuda:
            torch.cuda.synchronize(device)
            found |= {
                "activation_bytes": activation_bytes,
                "peak_bytes": torch.cuda.max_memory_allocated(device),
            }
        if time.perf_counter() - start_s > _LONG_S:
            break
    for name in ("gradient_norm", "loss"):
        if not math.isfinite(found[name]):
            notes[name], found[name] = f"it is {found[name]}", None
    return found


def _formula(subject: Subject, counted: int | None, notes: dict[str, str]) -> dict[str, Any]:
    stated = subject.stated_flops()
    if stated is None:
        notes["flops_forward_formula"] = "the model states no forward_flops"
        return {}
    if stated <= 0:
        notes["flops_difference"] = "the model's formula is not positive"
        return {"flops_forward_formula": stated}
    if "flops_forward" in notes:
        notes["flops_difference"] = notes["flops_forward"]
        counted = None
    return {
        "flops_forward_formula": stated,
        "flops_difference": None if counted is None else counted / stated - 1,
    }


def _time(
    subject: Subject,
    settings: ProfileSettings,
    deadline_s: float,
    meter: EnergyMeter,
    notes: dict[str, str],
) -> dict[str, Any]:
    """Seconds and joules of the same passes: as many as `settings` and the source's resolution
    ask for."""
    once = _cuda_times if subject.device.type == "cuda" else _cpu_times
    least_s = settings.min_time_s
    if meter.reason is None:
        least_s = max(least_s, 12 * meter.resolution_s)
    pairs: list[tuple[float, float, float]] = []
    with meter.window("profile", record=False) as window:
        start_s = now_s = time.perf_counter()
        while len(pairs) < settings.repeats or (
            now_s - start_s < least_s and len(pairs) < _MOST_REPEATS
        ):
            if pairs and now_s > deadline_s:
                break
            pairs.append(once(subject))
            now_s = time.perf_counter()
    found: dict[str, Any] = {"n_repeats": len(pairs)}
    columns = dict(zip(("forward", "backward"), zip(*pairs, strict=True), strict=False))
    if subject.optimizer is not None:
        columns["step"] = tuple(map(sum, pairs))
    for name, times in columns.items():
        found[f"{name}_time_s"] = statistics.fmean(times)
        if len(times) > 1:
            found[f"{name}_time_std_s"] = statistics.stdev(times)
        else:
            notes[f"{name}_time_std_s"] = "one repetition has no spread"
    if window.energy_j is None or window.short:
        short = f"{window.time_s:.3f} s is too short for {meter.source}"
        notes["energy_j"] = notes["energy_net_j"] = window.reason or short
        return found
    found["energy_j"] = window.energy_j / len(pairs)
    if window.energy_net_j is None:
        notes["energy_net_j"] = meter.idle_reason or "idle power was not measured"
    else:
        found["energy_net_j"] = window.energy_net_j / len(pairs)
    return found


def _cpu_times(subject: Subject) -> tuple[float, float, float]:
    """Seconds of forward passes, backward passes and the optimizer's step."""
    subject.clear()
    forward_s = backward_s = 0.0
    for forward_pass in subject.micro_batches():
        start_s = time.perf_counter()
        loss = forward_pass()
        middle_s = time.perf_counter()
        torch.autograd.backward(loss)
        forward_s, backward_s = (
            forward_s + middle_s - start_s,
            backward_s + time.perf_counter() - middle_s,
        )
    start_s = time.perf_counter()
    subject.step()
    return forward_s, backward_s, time.perf_counter() - start_s


def _cuda_times(subject: Subject) -> tuple[float, float, float]:
    """`_cpu_times` between events on the device's own stream."""
    subject.clear()
    with torch.cuda.device(subject.device):
        marks: list[torch.cuda.Event] = []

        def mark() -> None:
            marks.append(torch.cuda.Event(enable_timing=True))  # type: ignore[no-untyped-call]
            marks[-1].record()

        torch.cuda.synchronize()
        mark()
        for forward_pass in subject.micro_batches():
            loss = forward_pass()
            mark()
            torch.autograd.backward(loss)
            mark()
        subject.step()
        mark()
        torch.cuda.synchronize()
    times = [a.elapsed_time(b) / 1e3 for a, b in pairwise(marks)]
    return math.fsum(times[:-1:2]), math.fsum(times[1:-1:2]), times[-1]
