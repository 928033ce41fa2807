"""What goes on inside a model that can show it: where each token is sent, and the states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from clso.tasks.base import Examples, Tokens

__all__ = ["NO_TRACE", "Trace", "sequences", "trace_of"]

NO_TRACE = "the model has no states that it can show"

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Trace:
    """Of one sequence of T tokens, by layer (L first).

    Attributes:
        tokens: (T,).
        routing: how each token's message is spread over S states or slots, mean over heads: (L, T,
            S), rows sum to 1.
        by_head: the same by head, (L, heads, T, S).
        states: as each chunk found them, and at the end, (L, J + 1, S, d); None if the model shows
            none.
    """

    tokens: Tokens
    by_head: Floats
    states: Floats | None

    @property
    def routing(self) -> Floats:
        mean: Floats = self.by_head.mean(axis=1)
        return mean

    @property
    def n_states(self) -> int:
        return int(self.by_head.shape[-1])


def sequences(examples: Examples) -> list[Tokens]:
    """Each sequence without its padding."""
    return [row[row != 0] for row in examples.tokens]


def trace_of(model: nn.Module, rows: Sequence[Tokens], device: str) -> list[Trace] | None:
    """One trace a sequence, each run by itself, so that padding is in none; None if the model has
    nothing to show."""
    trace = getattr(model, "trace", None)
    if not callable(trace):
        return None
    found = []
    for row in rows:
        shown = trace(torch.from_numpy(row.astype(np.int64))[None].to(device))
        if "routing" not in shown:
            return None
        states = shown.get("states")
        found.append(
            Trace(row, _numpy(shown["routing"]), None if states is None else _numpy(states))
        )
    return found


def _numpy(values: torch.Tensor) -> Floats:
    """(L, 1, ...) -> (L, ...)."""
    out: Floats = values[:, 0].detach().double().cpu().numpy()
    return out
