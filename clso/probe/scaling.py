"""How a training step grows: with the length, the batch, the model's size, and the number of GPUs."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from clso.errors import ConfigError
from clso.models.modules import build_module, n_parameters
from clso.probe.context import Context, config_of, median_time, peak_bytes
from clso.probe.figure import Figure, Figures
from clso.probe.subject import with_positions
from clso.profiling.scaling import best_form, fit
from clso.profiling.subject import Subject

__all__ = ["measure"]

_LENGTHS = (0.5, 1, 2, 4, 8)  # of the task's longest sequence
_BATCHES = (1, 2, 4, 8, 16)
_WIDTHS = (1, 2, 3, 4)  # of the model's d_model
_REPEATS = 3


def measure(context: Context) -> Figures:
    """The group "scaling"."""
    n = context.task.n_positions
    lengths = sorted({max(8, round(share * n)) for share in _LENGTHS})
    try:
        longest = with_positions(context.model, lengths[-1])
    except ConfigError:  # weights that are bound to positions
        lengths = [length for length in lengths if length <= n]
        longest = context.model
    by_length = [(length, *_cost(context, longest, 1, length)) for length in lengths]
    by_batch = [(b, *_cost(context, context.model, b, n)) for b in _BATCHES]
    by_size = [
        (n_parameters(wider), *_cost(context, wider, 1, n))
        for wider in map(partial(_wider, context), _WIDTHS)
    ]
    return {
        "time_by_length": _growth([(x, time_s) for x, time_s, _ in by_length], "tokens"),
        "memory_by_length": _growth([(x, peak) for x, _, peak in by_length], "tokens"),
        "time_by_batch": _growth([(x, time_s) for x, time_s, _ in by_batch], "sequences"),
        "time_by_size": _growth([(x, time_s) for x, time_s, _ in by_size], "parameters"),
        "time_by_gpus": _by_gpus(context),
    }


def _cost(context: Context, model: nn.Module, batch: int, length: int) -> tuple[float, float]:
    """Seconds and peak bytes of a forward and backward pass on random tokens."""
    config, device = config_of(model), context.device
    subject = Subject.draw(model, batch, length, config.vocab_size, config.n_classes, seed=0)

    def work() -> None:
        subject.clear()
        torch.autograd.backward(subject.loss())

    was_training = model.training
    model.train()  # cuDNN's recurrences have no backward pass otherwise
    time_s = median_time(work, device, _REPEATS)
    peak = peak_bytes(work, subject.held(), device)
    subject.clear()
    model.train(was_training)
    return time_s, peak


def _wider(context: Context, factor: int) -> nn.Module:
    model = context.model
    config = replace(config_of(model), d_model=factor * config_of(model).d_model)
    return build_module(type(model), config, seed=0).to(context.device)


def _growth(points: Sequence[tuple[float, float]], of: str) -> Figure:
    """The exponent, and which of n, n log n and n^2 fits best."""
    x, y = zip(*points, strict=True)
    if len(set(x)) < 2:
        return Figure(None, f"every model that was measured has as many {of}")
    exponent, error = fit(x, y)
    form, errors = best_form(x, y)
    detail = {
        "of": of,
        "points": [list(point) for point in points],
        "standard_error": error,
        "form": form,
        "form_errors": errors,
    }
    return Figure(exponent, detail=detail)


def _by_gpus(context: Context) -> Figure:
    """A batch split over copies on one GPU and on two: seconds of two over seconds of one."""
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if context.on_cpu or count < 2:
        return Figure(None, f"{count} GPUs are there, and two are compared")
    batch = context.batch()
    times = [
        (k, median_time(_split_step(context, k), context.device, context.settings.repeats))
        for k in (1, 2)
    ]
    return Figure(
        times[1][1] / times[0][1],
        detail={"points": [list(one) for one in times], "batch": len(batch.tokens)},
    )


def _split_step(context: Context, n_gpus: int) -> Callable[[], None]:
    """Forward and backward passes of a batch in equal parts, queued on each GPU, and the sum of
    their gradients on the first."""
    batch = context.batch()
    copies = [copy.deepcopy(context.model).to(f"cuda:{i}").train() for i in range(n_gpus)]
    parts = [
        (tokens.to(f"cuda:{i}"), mask.to(f"cuda:{i}"), targets.to(f"cuda:{i}"))
        for i, (tokens, mask, targets) in enumerate(
            zip(*(x.chunk(n_gpus) for x in (batch.tokens, batch.mask, batch.targets)), strict=True)
        )
    ]

    def work() -> None:
        for model, (tokens, mask, targets) in zip(copies, parts, strict=True):
            model.zero_grad(set_to_none=True)
            logits = model(tokens, mask)
            torch.autograd.backward(F.cross_entropy(logits.flatten(0, -2), targets.flatten()))
        for own, *others in zip(*(model.parameters() for model in copies), strict=True):
            if own.grad is not None:
                for other in others:
                    own.grad += other.grad.to(own.device)
        for i in range(n_gpus):
            torch.cuda.synchronize(i)

    return work
