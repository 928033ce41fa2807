"""Patterns by length: one document, forward and backward, attention patterns side by side."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any

import torch

from benchmarks.vsla.timing import peak_of
from clso.models.vsla import VSLA, VSLAConfig
from clso.profiling.measure import Row
from clso.profiling.subject import Subject

__all__ = ["PATTERNS", "measure"]

PATTERNS = ("full", "local:512", "sparse:64:6", "pyramid:64", "adaptive:entropy:6")
_VOCABULARY = 256


def measure(device: str) -> Iterator[dict[str, Any]]:
    on_cpu = device == "cpu"
    lengths = (512, 2048, 8192, 32768) if on_cpu else (512, 1024, 2048, 4096, 8192, 16384, 32768)
    sizes: dict[str, Any] = {"d_model": 512, "n_layers": 2, "n_heads": 8}
    if on_cpu:
        sizes = {"d_model": 32, "n_layers": 1, "n_heads": 2}
    rows: dict[tuple[str, int], Row] = {}
    cells = [(n, pattern) for n in lengths for pattern in PATTERNS]
    if not on_cpu:  # nothing else runs there: what is most asked for comes first
        cells = [(n, pattern) for pattern in PATTERNS for n in lengths]
    for n, pattern in cells:
        patterns = (pattern,) * sizes["n_layers"]
        config = VSLAConfig(vocab_size=_VOCABULARY, n_positions=n, patterns=patterns, **sizes)
        make = partial(_subject, config, device, n)
        rows[pattern, n] = row = peak_of(
            make, repeats=2 if on_cpu else 3, max_time_s=240.0 if on_cpu else 40.0
        )
        seconds = (
            None
            if row.forward_time_s is None
            else row.forward_time_s + (row.backward_time_s or 0.0)
        )
        yield {
            "pattern": pattern,
            "length": n,
            "status": row.status,
            "reason": row.reason,
            "time_s": seconds,
            "peak_bytes": row.peak_bytes,
            "activation_bytes": row.activation_bytes,
            "flops": config.attention_flops(n),
            "sizes": sizes,
        }
    for pattern in PATTERNS:
        points = [(n, rows[pattern, n].activation_bytes) for n in lengths]
        slopes = [
            math.log(b / a) / math.log(m / n) for (n, a), (m, b) in pairwise(points) if a and b
        ]
        yield {"pattern": pattern, "memory_exponents": slopes}


def _subject(config: VSLAConfig, device: str, n: int) -> Subject:
    model = VSLA(config).init_weights(torch.Generator().manual_seed(0))
    model = model.to(device, torch.float32 if device == "cpu" else torch.bfloat16)
    return Subject.draw(model, 1, n, _VOCABULARY, 0, seed=0)
