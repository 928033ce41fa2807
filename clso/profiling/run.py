"""A profile: every model at every length, and the record of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

import torch

from clso.device import resolve_device
from clso.energy import EnergyMeter, open_meter
from clso.profiling.layout_names import Layout
from clso.profiling.layouts import MixSubject, slots_of
from clso.profiling.measure import Row, measure
from clso.profiling.memory import resolve_budget
from clso.profiling.mixes import parse_mix
from clso.profiling.models import ProfiledModel, find_models
from clso.profiling.scaling import Exponent, fit_all
from clso.profiling.settings import ProfileSettings
from clso.profiling.subject import Subject
from clso.profiling.watch import Watch
from clso.run.manifest import describe_code, describe_device, describe_software

__all__ = ["Profile", "run_profile"]

_IDLE_S = 2.0
_MEMORY = {
    "cpu": "peak of the bytes of live tensor storages, weights and gradients included; scratch inside a kernel is not",
    "cuda": "torch.cuda.max_memory_allocated over one forward and backward pass, weights and gradients included; workspaces "
    "of libraries, which outlive the model, are not",
}

Progress = Callable[[int, int, str], None]
"""Told how many cells are done, of how many, and what comes next."""


@dataclass(frozen=True)
class Profile:
    """The record of a profile. `interrupted`: rows are missing."""

    settings: ProfileSettings
    models: list[dict[str, Any]]
    rows: list[Row]
    manifest: dict[str, Any]
    interrupted: bool = False
    scaling: list[Exponent] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "scaling", fit_all(self.rows))

    def to_json(self) -> dict[str, Any]:
        """As JSON types; the manifest is apart."""
        return {
            "settings": asdict(self.settings),
            "models": self.models,
            "rows": [asdict(row) for row in self.rows],
            "scaling": [asdict(exponent) for exponent in self.scaling],
            "interrupted": self.interrupted,
            "manifest": self.manifest,
        }


def run_profile(
    settings: ProfileSettings,
    progress: Progress = lambda done, total, text: None,
    keep: Callable[[Profile], None] = lambda profile: None,
) -> Profile:
    """Measure every cell, the short lengths first and the models side by side at each, so that
    drift hits all alike.

    If a model runs out of memory or time its longer lengths are skipped. Ctrl-C ends the profile
    and keeps its rows. `keep` gets the profile so far after every cell, as an interrupted one, so
    that what is on disk outlives a kill.

    Raises:
        PluginError, ConfigError, DeviceError, EnergyError: before anything is measured.
    """
    if settings.device == "meta":
        return _described(settings)
    device = resolve_device(settings.device)
    budget_bytes = resolve_budget(settings.memory_budget_bytes, device)
    settings = replace(settings, device=device, memory_budget_bytes=budget_bytes)
    models = find_models(settings)
    described = [_describe(model) for model in models]
    with open_meter(settings.energy, device) as meter:
        if meter.reason is None:
            meter.measure_idle(max(_IDLE_S, 12 * meter.resolution_s))
        found = Profile(settings, described, [], _manifest(device, meter), interrupted=True)
        try:
            for row in _measure_all(models, settings, meter, progress):
                found = replace(found, rows=[*found.rows, row])
                keep(found)
        except KeyboardInterrupt:
            return found
    return replace(found, interrupted=False)


def _described(settings: ProfileSettings) -> Profile:
    """Parameters and stated FLOPs, of models that are not allocated."""
    models = find_models(settings)
    rows = []
    for model in models:
        built = model.build()
        n_parameters = sum(p.numel() for p in built.parameters() if p.requires_grad)
        formula = getattr(built, "forward_flops", None)
        rows += [
            Row(
                model.name,
                length,
                settings.batch,
                parameters=n_parameters,
                flops_forward_formula=None
                if formula is None
                else settings.batch * int(formula(length)),
                notes=dict.fromkeys(
                    ("forward_time_s", "backward_time_s", "peak_bytes"), "nothing runs on meta"
                ),
            )
            for length in settings.lengths
        ]
    manifest = {
        "software": describe_software(),
        "hardware": {"device": "meta"},
        "energy": {"source": "none", "reason": "nothing runs on meta", "idle_w": None},
        "memory": "none: nothing is allocated on meta",
    }
    return Profile(settings, [_describe(model) for model in models], rows, manifest)


def _manifest(device: str, meter: EnergyMeter) -> dict[str, Any]:
    return {
        "code": describe_code(),
        "software": describe_software(),
        "hardware": describe_device(device),
        "energy": {"source": meter.source, "reason": meter.reason, "idle_w": meter.idle_w},
        "memory": _MEMORY[device.partition(":")[0]],
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
    }


def _describe(model: ProfiledModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "parameters": model.n_parameters(),
        "d_model": model.d_model,
        "config": asdict(model.config()),
        "plugin": model.plugin.describe(),
    }


def _measure_all(
    models: Sequence[ProfiledModel],
    settings: ProfileSettings,
    meter: EnergyMeter,
    progress: Progress,
) -> Iterator[Row]:
    _warm_up_process(settings)
    if settings.mix:
        yield from _measure_layouts(models, settings, meter, progress)
        return
    cells = [(length, model) for length in settings.lengths for model in models]
    last: dict[str, Row] = {}
    for done, (length, model) in enumerate(cells):
        progress(done, len(cells), f"{model.name} at {length:,} tokens")
        base = Row(model.name, length, settings.batch, attention_backend=_backend(model, settings))
        before = last.get(model.name)
        reason = None if before is None else _foregone(before, length, settings)
        if reason is not None:
            yield replace(
                base, status="skipped", reason=reason, parameters=last[model.name].parameters
            )
            continue
        last[model.name] = row = measure(
            partial(_subject, model, length, settings),
            base,
            settings,
            meter,
            watched_s=0.0
            if before is None
            else (before.watched_time_s or math.inf) * length / before.length,
        )
        yield row
    progress(len(cells), len(cells), "done")


def _measure_layouts(
    models: Sequence[ProfiledModel],
    settings: ProfileSettings,
    meter: EnergyMeter,
    progress: Progress,
) -> Iterator[Row]:
    lengths = parse_mix(settings.mix).lengths(settings.docs, settings.seed)
    cells = [(layout, model) for model in models for layout in settings.layouts]
    for done, (layout, model) in enumerate(cells):
        progress(done, len(cells), f"{model.name}, {layout}")
        base = Row(
            model.name,
            settings.pad_to,
            settings.docs,
            layout=layout,
            document_lengths=lengths,
            n_tokens=sum(lengths),
            n_slots=sum(slots_of(lengths, layout, settings.micro, settings.pad_to)),
            attention_backend=_backend(model, settings),
        )
        yield measure(
            partial(_mixed_subject, model, layout, lengths, settings),
            base,
            settings,
            meter,
        )
    progress(len(cells), len(cells), "done")


def _mixed_subject(
    model: ProfiledModel, layout: Layout, lengths: Sequence[int], settings: ProfileSettings
) -> MixSubject:
    built = model.build().to(settings.device, getattr(torch, settings.dtype))
    return MixSubject.of(
        built,
        lengths,
        layout,
        micro=settings.micro,
        pad_to=settings.pad_to,
        vocab_size=settings.vocab_size,
        seed=settings.seed,
        optimizer=Subject.adamw(built) if settings.step else None,
    )


def _backend(model: ProfiledModel, settings: ProfileSettings) -> str | None:
    """What a model of ours says of itself; it is asked without allocating one."""
    if not hasattr(model.plugin.value, "attention_backend"):
        return None
    with torch.device("meta"):
        described = model.plugin.value(model.config())
    return str(
        described.attention_backend(torch.device(settings.device), getattr(torch, settings.dtype))
    )


def _warm_up_process(settings: ProfileSettings) -> None:
    """What a process pays for once (CUDA's context, imports on first use), so that the first cell
    does not."""
    layer = torch.nn.Linear(8, 8).to(settings.device)
    with Watch([], None):
        torch.autograd.backward(layer(torch.zeros(4, 8, device=settings.device)).sum())


def _foregone(before: Row, length: int, settings: ProfileSettings) -> str | None:
    """Why a model is not measured at `length`, going by the last shorter one that was; costs grow
    linearly at least."""
    at = f"at {before.length:,} tokens"
    if before.status == "out-of-memory":
        return f"out of memory {at}"
    if before.status == "skipped":
        return f"{before.reason} {at}"
    pass_s = (before.forward_time_s or 0.0) + (before.backward_time_s or 0.0)
    watched_s = (before.watched_time_s or 0.0) if settings.device == "cpu" else 0.0
    if (watched_s + 2 * pass_s) * length / before.length > settings.max_time_s:
        return f"over {settings.max_time_s:g} s, for a pass takes {pass_s:.2g} s {at}"
    return None


def _subject(model: ProfiledModel, length: int, settings: ProfileSettings) -> Subject:
    built = model.build().to(settings.device, getattr(torch, settings.dtype))
    drawn = Subject.draw(
        built, settings.batch, length, settings.vocab_size, settings.n_classes, settings.seed
    )
    return replace(drawn, optimizer=Subject.adamw(built)) if settings.step else drawn
