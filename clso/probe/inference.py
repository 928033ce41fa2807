"""What answering costs: time, memory, size on disk, joules."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch

from clso.models.modules import write_module
from clso.probe.context import (
    Context,
    Step,
    config_of,
    mean_energy,
    median_time,
    peak_bytes,
    times_of,
)
from clso.probe.figure import Figure, Figures
from clso.tasks.scoring import Batch

__all__ = ["measure"]

_PERCENTILES = (50, 95, 99)


def measure(context: Context) -> Figures:
    """The group "inference"."""
    model, settings, device = context.model, context.settings, context.device
    singles = [context.one(row) for row in range(len(context.examples))]
    batch = context.batch()
    static = sum(t.numel() * t.element_size() for t in (*model.parameters(), *model.buffers()))
    longest = max(singles, key=lambda one: one.tokens.shape[1])
    step = Step(model, batch)
    with torch.no_grad():
        n = max(settings.repeats, len(singles))
        chosen = list(islice(cycle(singles), n))
        times = times_of([partial(_forward, context, one) for one in chosen], device)
        batch_s = median_time(partial(_forward, context, batch), device, settings.repeats)
        peak = peak_bytes(
            partial(_forward, context, longest),
            [*model.parameters(), *model.buffers(), longest.tokens, longest.mask],
            device,
        )
        around = cycle(singles)
        joules, why = mean_energy(
            lambda: _forward(context, next(around)), context.meter, settings.min_time_s
        )
    n_tokens = sum(one.tokens.shape[1] for one in chosen)
    detail = {"sequences": len(times), "tokens": n_tokens}
    found = {
        "time_per_sequence_s": Figure(float(np.mean(times)), detail=detail),
        "time_per_token_s": Figure(float(np.sum(times)) / n_tokens, detail=detail),
    }
    for q, value in zip(_PERCENTILES, np.percentile(times, _PERCENTILES), strict=True):
        found[f"latency_p{q}_s"] = Figure(float(value), detail=detail)
    step_s = median_time(step, device, settings.repeats)
    step_joules, step_why = mean_energy(step, context.meter, settings.min_time_s)
    return found | {
        "tokens_per_s": Figure(
            int(batch.mask.sum()) / batch_s, detail={"batch": len(batch.tokens), "time_s": batch_s}
        ),
        "step_time_s": Figure(step_s, detail={"batch": len(batch.tokens)}),
        "static_bytes": Figure(static),
        "peak_bytes": Figure(peak, detail={"tokens": longest.tokens.shape[1]}),
        "step_peak_bytes": Figure(peak_bytes(step, step.held(), device)),
        "disk_bytes": Figure(_size_on_disk(context)),
        "energy_per_inference_j": Figure(joules, why),
        "energy_per_step_j": Figure(step_joules, step_why),
    }


def _forward(context: Context, batch: Batch) -> None:
    context.model(batch.tokens, batch.mask)


def _size_on_disk(context: Context) -> int:
    described = {"config": asdict(config_of(context.model))}
    with tempfile.TemporaryDirectory() as folder:
        write_module(context.model, described, Path(folder), "sequence.json")
        return sum(path.stat().st_size for path in Path(folder).iterdir())
