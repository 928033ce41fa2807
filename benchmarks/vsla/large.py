"""vsla-1b on one GPU in bfloat16: forward passes, whole steps with fused AdamW, and memory, by layout."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch

from benchmarks.vsla.layouts import DOCUMENTS, PAD_TO, flops_by_part, one_pass
from benchmarks.vsla.timing import in_turn
from clso.models.vsla import VSLA, VSLAConfig
from clso.profiling.layout_names import LAYOUTS, Layout
from clso.profiling.layouts import MixSubject, slots_of
from clso.profiling.memory import describe_out_of_memory, is_out_of_memory
from clso.profiling.mixes import parse_mix
from clso.profiling.subject import Subject

__all__ = ["CONFIG", "measure"]

CONFIG = VSLAConfig(
    vocab_size=50257, n_positions=PAD_TO, d_model=2048, n_layers=24, n_heads=16, tied_head=True
)
_MIX = "choice:512,1024,2048,4096"


def measure(device: str) -> Iterator[dict[str, Any]]:
    with torch.device("meta"):
        n_parameters = sum(p.numel() for p in VSLA(CONFIG).parameters())
    base = {"parameters": n_parameters, "mix": _MIX}
    if device == "cpu":
        yield {**base, "status": "skipped", "reason": "a model of this size is measured on a GPU"}
        return
    with torch.device(device):
        model = VSLA(CONFIG)
    model.init_weights(torch.Generator(device).manual_seed(0))
    model = model.bfloat16()
    optimizer = Subject.adamw(model)
    lengths = parse_mix(_MIX).lengths(DOCUMENTS, 0)
    for micro in (4, 2, 1):
        subjects = {
            layout: _subject(model, optimizer, lengths, layout, micro) for layout in LAYOUTS
        }
        found = {layout: _probe(subject, device) for layout, subject in subjects.items()}
        ok = {layout: subjects[layout] for layout in LAYOUTS if found[layout]["status"] == "ok"}
        steps = in_turn(
            {layout: partial(one_pass, s) for layout, s in ok.items()}, device, repeats=5, warm_up=1
        )
        forwards = in_turn(
            {layout: partial(_forward, s) for layout, s in ok.items()}, device, repeats=5, warm_up=1
        )
        for layout in LAYOUTS:
            flops = flops_by_part(CONFIG, lengths, layout, micro)
            yield {
                **base,
                "micro": micro,
                "layout": layout,
                "n_tokens": sum(lengths),
                "n_slots": sum(slots_of(lengths, layout, micro, PAD_TO)),
                "flops": flops,
                "step_time_s": steps.median(layout),
                "forward_time_s": forwards.median(layout),
                "failed": {**forwards.failed, **steps.failed}.get(layout),
                "attention_backend": model.attention_backend(torch.device(device), torch.bfloat16),
                **found[layout],
            }


def _subject(
    model: VSLA, optimizer: torch.optim.Optimizer, lengths: list[int], layout: Layout, micro: int
) -> MixSubject:
    return MixSubject.of(
        model,
        lengths,
        layout,
        micro=micro,
        pad_to=PAD_TO,
        vocab_size=CONFIG.vocab_size,
        seed=0,
        optimizer=optimizer,
    )


def _probe(subject: MixSubject, device: str) -> dict[str, Any]:
    """Peak memory of a step, or that it does not fit."""
    torch.cuda.reset_peak_memory_stats(device)
    try:
        one_pass(subject)
        torch.cuda.synchronize(device)
    except Exception as error:  # the other layouts are worth having
        status, reason = "failed", f"{type(error).__name__}: {error}"
        if is_out_of_memory(error):
            status, reason = "out-of-memory", describe_out_of_memory(error)
        subject.clear()
        return {"status": status, "reason": reason, "peak_bytes": None}
    finally:
        torch.cuda.empty_cache()
    return {"status": "ok", "reason": None, "peak_bytes": torch.cuda.max_memory_allocated(device)}


@torch.no_grad()
def _forward(subject: MixSubject) -> None:
    for forward_pass in subject.micro_batches():
        forward_pass()
