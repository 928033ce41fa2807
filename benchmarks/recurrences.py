"""Recurrences in C, or by a GPU's kernels, and in plain torch, beside the Transformer: seconds of a pass and its gradient.

    OMP_NUM_THREADS=1 python -m benchmarks.recurrences --out FILE
    python -m benchmarks.recurrences --device cuda --out FILE

Forms and models take turns. On a CPU seconds are those of the process, so that a machine that does other work
as well says the same. On a GPU torch's profiler says what its kernels spend. The tables in docs/nsm.md are made
from the records.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from unittest.mock import patch

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from clso import plugins
from clso.device import has_triton
from clso.models import fused, native
from clso.models.modules import build_module
from clso.models.sequence import SequenceModel
from clso.run.manifest import describe_device, describe_software

MODELS = {
    "cpu": ("simple-nsm", "advanced-hybrid", "sequential-hybrid", "mamba", "transformer"),
    "cuda": ("simple-nsm", "advanced-hybrid", "sequential-hybrid", "mamba", "rwkv", "transformer"),
}
LENGTHS = {"cpu": {1024: 9, 4096: 5}, "cuda": {1024: 5, 4096: 3}}
"""And repetitions."""
FAST = {"cpu": "C", "cuda": "kernels"}
PROFILED = 5
"""Passes that the profiler watches."""
KINDS = {
    "recurrence": r"(nsm|turing|lstm|selective|wkv)_",
    "attention": r".*(fmha|flash)",
    "products": r".*(gemm|cutlass|splitK)",
}
"""Of kernels, by the beginnings of their names."""


@contextmanager
def form(name: str) -> Iterator[None]:
    """Have recurrences computed in the fast form, or in "torch"."""
    if name != "torch":
        yield
        return
    with (
        patch.object(native, "is_possible", lambda x: False),
        patch.object(fused, "has_triton", lambda: False),
    ):
        yield


def seconds_of(model: SequenceModel, tokens: Tensor) -> float:
    """One forward and backward pass: of the process on a CPU, else until the device has done it."""
    model.zero_grad()
    clock = time.perf_counter if tokens.is_cuda else time.process_time

    def wait() -> None:
        if tokens.is_cuda:
            torch.cuda.synchronize()

    wait()
    started = clock()
    torch.autograd.backward(model.token_losses(tokens).mean())
    wait()
    return clock() - started


def prepare(length: int, device: str) -> tuple[dict[str, SequenceModel], Tensor]:
    """Models by name, and what they read."""
    generator = torch.Generator().manual_seed(0)
    tokens = torch.randint(256, (1, length + 1), generator=generator).to(device)
    models = {}
    for name in MODELS[device]:
        kind: type[SequenceModel] = plugins.load("models", name).subclass_of(SequenceModel)
        models[name] = build_module(kind, kind.Config(256, 64, 2, 4, length)).to(device)
    return models, tokens


def spent(length: int) -> list[dict[str, object]]:
    """Seconds of a GPU's kernels in a pass, by kind, and how many are started."""
    models, tokens = prepare(length, "cuda")
    rows: list[dict[str, object]] = []
    for name, model in models.items():
        seconds_of(model, tokens)  # the first compiles
        with profile(activities=[ProfilerActivity.CUDA], acc_events=True) as watched:
            for _ in range(PROFILED):
                seconds_of(model, tokens)
        by_kind: Counter[str] = Counter()
        n_kernels = 0
        for event in watched.key_averages():
            known = (kind for kind, names in KINDS.items() if re.match(names, event.key))
            by_kind[next(known, "other")] += event.self_device_time_total / 1e6 / PROFILED
            n_kernels += event.count if event.self_device_time_total else 0
        row = {"model": name, "length": length, "kernels": round(n_kernels / PROFILED)}
        rows.append({**row, "by_kind_s": dict(by_kind)})
    return rows


def measure(length: int, repetitions: int, device: str) -> list[dict[str, object]]:
    """A row for each model and form; the Transformer has no recurrence."""
    models, tokens = prepare(length, device)
    forms = [(name, one) for name in models for one in ("torch", FAST[device])]
    forms.remove(("transformer", FAST[device]))
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in forms}
    for turn in range(repetitions + 1):
        for name, one in forms:
            with form(one):
                taken = seconds_of(models[name], tokens)
            if turn:  # the first compiles, and warms up
                seconds[name, one].append(taken)
    unit = "cpu_s" if device == "cpu" else "time_s"
    return [
        {
            "model": name,
            "form": one,
            "length": length,
            unit: median(taken),
            f"least_{unit}": min(taken),
            "repetitions": repetitions,
        }
        for (name, one), taken in seconds.items()
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", choices=list(MODELS), default="cpu")
    args = parser.parse_args()
    out, device = args.out, args.device
    if device == "cpu" and not native.is_possible(torch.zeros(1)):
        raise SystemExit("a C compiler is needed: none was found")
    if device == "cuda" and not (torch.cuda.is_available() and has_triton()):
        raise SystemExit("a GPU and Triton are needed")
    rows = [row for length, n in LENGTHS[device].items() for row in measure(length, n, device)]
    what = {"sizes": "batch 1, float32, 2 layers of d = 64", "threads": torch.get_num_threads()}
    where = {"software": describe_software(), "hardware": describe_device(device)}
    record = {**where, **what, "rows": rows}
    if device == "cuda":
        record["spent"] = [row for n in LENGTHS[device] for row in spent(n)]
    out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
