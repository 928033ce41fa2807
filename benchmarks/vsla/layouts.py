"""Mixes of document lengths, padded, sorted and packed: time of forward and backward passes, peak memory, FLOPs by part."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from benchmarks.vsla.timing import in_turn, peak_of
from clso.models.vsla import VSLA, VSLAConfig
from clso.profiling.layout_names import LAYOUTS, Layout
from clso.profiling.layouts import MixSubject, slots_of
from clso.profiling.mixes import parse_mix

__all__ = ["flops_by_part", "measure", "one_pass"]

DOCUMENTS, PAD_TO = 8, 4096
_MOST_S = 120.0  # of one cell
CELLS = (
    # mix, micro-batches
    ("choice:512,1024,2048,4096", 1),
    ("choice:512,1024,2048,4096", 4),
    ("uniform:128-4096", 1),
    ("lognormal:6.5,0.8,4096", 1),
    ("choice:4096", 1),  # the control: equal lengths
)


def _config(device: str) -> VSLAConfig:
    if device == "cpu":
        return VSLAConfig(vocab_size=256, n_positions=PAD_TO, d_model=64, n_layers=2, n_heads=4)
    return VSLAConfig(vocab_size=16384, n_positions=PAD_TO, d_model=1024, n_layers=6, n_heads=16)


def measure(device: str) -> Iterator[dict[str, Any]]:
    config = _config(device)
    model = _model(config, device)
    backend = model.attention_backend(torch.device(device), next(model.parameters()).dtype)
    for mix, micro in CELLS:
        lengths = parse_mix(mix).lengths(DOCUMENTS, 0)
        make: dict[str, Callable[[], MixSubject]] = {
            layout: partial(_subject, model, config, lengths, layout, micro) for layout in LAYOUTS
        }
        cells = {
            str(layout): peak_of(
                partial(_fresh, config, device, lengths, layout, micro), max_time_s=_MOST_S
            )
            for layout in LAYOUTS
        }
        ways = {
            layout: partial(one_pass, one())
            for layout, one in make.items()
            if cells[layout].status == "ok"
        }
        timed = in_turn(ways, device, repeats=3 if device == "cpu" else 10)
        for layout in LAYOUTS:
            cell = cells[layout]
            yield {
                "mix": mix,
                "micro": micro,
                "layout": layout,
                "lengths": lengths,
                "n_tokens": sum(lengths),
                "n_slots": sum(slots_of(lengths, layout, micro, PAD_TO)),
                "status": "failed" if layout in timed.failed else cell.status,
                "reason": timed.failed.get(layout, cell.reason),
                "time_s": timed.median(layout),
                "times_s": timed.seconds.get(layout),
                "peak_bytes": cell.peak_bytes,
                "flops": flops_by_part(config, lengths, layout, micro),
                "attention_backend": backend,
                "config": asdict(config),
            }


def _model(config: VSLAConfig, device: str) -> VSLA:
    with torch.device(device):
        model = VSLA(config)
    model.init_weights(torch.Generator(device).manual_seed(0))
    return model.to(dtype=torch.float32 if device == "cpu" else torch.bfloat16)


def _fresh(
    config: VSLAConfig, device: str, lengths: list[int], layout: Layout, micro: int
) -> MixSubject:
    """With a model of its own, whose weights are part of its memory."""
    return _subject(_model(config, device), config, lengths, layout, micro)


def _subject(
    model: VSLA, config: VSLAConfig, lengths: list[int], layout: Layout, micro: int
) -> MixSubject:
    return MixSubject.of(
        model, lengths, layout, micro=micro, pad_to=PAD_TO, vocab_size=config.vocab_size, seed=0
    )


def one_pass(subject: MixSubject) -> None:
    """Forward and backward over every micro-batch, and a step if there is an optimizer."""
    subject.clear()
    for forward_pass in subject.micro_batches():
        torch.autograd.backward(forward_pass())
    subject.step()


def flops_by_part(
    config: VSLAConfig, lengths: list[int], layout: Layout, micro: int
) -> dict[str, int]:
    """Of the forward pass: attention's scores and averages, and everything else."""
    slots = slots_of(lengths, layout, micro, PAD_TO)
    return {
        "attention": sum(map(config.attention_flops, slots)),
        "rest": config.token_flops() * sum(slots),
    }
