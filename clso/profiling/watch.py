"""One pass, watched operator by operator: its FLOPs, the bytes that are alive, and the time it has
left."""

from __future__ import annotations

import time
from collections import Counter
from functools import cache
from typing import Any

import torch

from clso.profiling.flops import flop_formulas, is_uncounted
from clso.profiling.memory import LiveBytes

__all__ = ["OverTime", "Watch"]

_is_uncounted = cache(is_uncounted)  # asked at every operator


class OverTime(Exception):
    """A cell took longer than it may."""


class Watch(LiveBytes):  # type: ignore[no-untyped-call]
    """To be entered around the work, outside of inference mode; one mode, because each costs as
    much as a small operator.

    `torch.utils.flop_counter.FlopCounterMode` gives the same counts (a test holds it), by module,
    three times as slowly.

    Attributes:
        flops: counted so far, by `flop_formulas`.
        uncounted: by operator that may hold products and has no formula, how often it ran.

    Raises:
        OverTime: an operator ends after `deadline_s` on the clock of `time.perf_counter`.
        OverBudget: as `LiveBytes`.
    """

    def __init__(
        self, held: list[torch.Tensor], budget_bytes: int | None, deadline_s: float = float("inf")
    ) -> None:
        super().__init__(held, budget_bytes)
        self.flops = 0
        self.uncounted: Counter[str] = Counter()
        self._formulas, self._deadline_s = flop_formulas(), deadline_s

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        out = super().__torch_dispatch__(func, types, args, named)
        formula = self._formulas.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **named, out_val=out)
        elif _is_uncounted(func._overloadpacket):
            self.uncounted[str(func._overloadpacket).removeprefix("aten.")] += 1
        if time.perf_counter() > self._deadline_s:
            raise OverTime
        return out
