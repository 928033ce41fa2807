"""Stacking arrays of different lengths: storage and time, beside padding and beside `torch.nested`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache, partial
from typing import Any, get_args

import torch
from torch.nn.utils.rnn import pad_sequence

from benchmarks.vsla.timing import in_turn
from clso.profiling.mixes import parse_mix
from clso.ragged import Ragged, add, convolve
from clso.ragged.convolution import Method

__all__ = ["measure"]

_MIXES = ("choice:512,1024,2048,4096", "uniform:128-4096", "lognormal:6.5,0.8,4096", "choice:4096")
_DOCUMENTS, _WIDTH = 64, 8


def measure(device: str) -> Iterator[dict[str, Any]]:
    for mix in _MIXES:
        lengths = parse_mix(mix).lengths(_DOCUMENTS, 0)
        generator = torch.Generator().manual_seed(0)
        items = [torch.randn(n, _WIDTH, generator=generator).to(device) for n in lengths]
        ragged, padded = Ragged.stack(items), pad_sequence(items, batch_first=True)
        nested = cache(partial(_nested, items))  # made when it is asked for: it may fail
        ways = {
            "stack ragged": lambda items=items: Ragged.stack(items),
            "stack padded": lambda items=items: pad_sequence(items, batch_first=True),
            "stack nested": lambda items=items: _nested(items),
            "add ragged": lambda x=ragged: add(x, x),
            "add padded": lambda x=padded: x + x,
            "add nested": lambda x=nested: x() + x(),
        }
        timed = in_turn(ways, device, repeats=9)
        yield {
            "mix": mix,
            "documents": len(items),
            "ragged_bytes": ragged.values.numel() * 4,
            "padded_bytes": padded.numel() * 4,
            "time_s": {name: timed.median(name) for name in ways},
            "failed": timed.failed,
        }
    for n in (16, 64, 256, 1024, 4096):
        a, b = (torch.randn(n, device=device) for _ in "ab")
        ways = {method: partial(convolve, a, b, method) for method in get_args(Method)}
        timed = in_turn(ways, device, repeats=9)
        seconds = {name: timed.median(name) for name in ways}
        yield {"convolution": n, "time_s": seconds, "failed": timed.failed}


def _nested(items: list[torch.Tensor]) -> torch.Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a prototype, as it says itself
        return torch.nested.nested_tensor(items, layout=torch.jagged)
