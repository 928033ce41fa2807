"""How well training steps use the device: busy shares, bytes moved, transfers."""

from __future__ import annotations

import threading
import time
from typing import Any

import numpy as np
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from clso.energy.cards import Cards, open_cards
from clso.energy.device import cuda_indices
from clso.errors import EnergyError
from clso.probe.context import Context, Step, median_time, synchronise
from clso.probe.figure import Figure, Figures, missing

__all__ = ["MovedBytes", "measure"]

_ON_CARD = ("gpu_utilisation", "memory_busy_share", "memory_bandwidth_share", "transfer_time_share")
_SAMPLE_S = 0.02
_LEAST_S = 2.0  # NVML's own sampling period is up to a second
_PROFILED_STEPS = 5


class MovedBytes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what operators read and write: the bytes of their arguments and of their results,
    views left out. Caches and fusion within an operator make the traffic less."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.n_bytes = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """As `clso.profiling.memory.LiveBytes`."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        read = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, torch.Tensor)]
        written = [x for x in tree_leaves(out) if isinstance(x, torch.Tensor)]
        known = {x.untyped_storage()._cdata for x in read}
        is_view = not func._schema.is_mutable and all(
            x.untyped_storage()._cdata in known for x in written
        )
        if not (written and is_view):
            self.n_bytes += sum(x.numel() * x.element_size() for x in (*read, *written))
        return out


def measure(context: Context) -> Figures:
    """The group "hardware"."""
    step = Step(context.model, context.batch())
    time_s = median_time(step, context.device, context.settings.repeats)
    with MovedBytes() as moved:
        step()
    found = {
        "bytes_moved_per_step": Figure(moved.n_bytes, detail={"step_time_s": time_s}),
        "cpu_utilisation": _cpu_utilisation(context, step),
    }
    if context.on_cpu:
        return found | missing(_ON_CARD, "there is no GPU at work")
    try:
        cards = open_cards(cuda_indices([context.device]))
    except EnergyError as error:
        found |= missing(_ON_CARD[:3], str(error))
    else:
        try:
            found |= _on_card(cards, step, context.device, moved.n_bytes / time_s)
        except Exception as error:  # NVML raises its own kinds, for what a card does not support
            found |= missing(_ON_CARD[:3], f"NVML cannot tell: {error}")
        finally:
            cards.close()
    return found | {"transfer_time_share": _transfers(context, step)}


def _cpu_utilisation(context: Context, step: Step) -> Figure:
    """CPU seconds of this process by wall-clock seconds, over steps."""
    synchronise(context.device)
    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    while (wall_s := time.perf_counter() - start_s) < max(0.2, context.settings.min_time_s):
        step()
    cpu_s = time.process_time() - start_cpu_s
    return Figure(cpu_s / wall_s, detail={"threads": torch.get_num_threads()})


def _on_card(cards: Cards, step: Step, device: str, bytes_per_s: float) -> Figures:
    samples: list[tuple[float, float]] = []
    done = threading.Event()

    def sample() -> None:
        while not done.wait(_SAMPLE_S):
            samples.append(cards.utilisation()[0])

    thread = threading.Thread(target=sample, daemon=True)
    start_s = time.perf_counter()
    thread.start()
    try:
        while time.perf_counter() - start_s < _LEAST_S:
            step()
            synchronise(device)
    finally:
        done.set()
        thread.join()
    # the first half still holds what was before the steps
    busy, memory = np.mean(samples[len(samples) // 2 :], axis=0).tolist()
    peak = cards.bandwidth_bytes_per_s()[0]
    return {
        "gpu_utilisation": Figure(busy, detail={"samples": len(samples)}),
        "memory_busy_share": Figure(memory, detail={"samples": len(samples)}),
        "memory_bandwidth_share": Figure(
            bytes_per_s / peak, detail={"bytes_per_s": bytes_per_s, "peak_bytes_per_s": peak}
        ),
    }


def _transfers(context: Context, step: Step) -> Figure:
    """Of steps that fetch their batch: copies between host and device, by torch's profiler."""
    from torch.profiler import ProfilerActivity, profile

    synchronise(context.device)
    start_s = time.perf_counter()
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiled:
        for _ in range(_PROFILED_STEPS):
            step.batch = context.batch()
            step()
        synchronise(context.device)
    wall_s = time.perf_counter() - start_s
    copied_s = sum(
        event.device_time_total / 1e6
        for event in profiled.key_averages()
        if event.key.startswith(("Memcpy HtoD", "Memcpy DtoH"))
    )
    return Figure(copied_s / wall_s, detail={"copied_s": copied_s, "wall_s": wall_s})
