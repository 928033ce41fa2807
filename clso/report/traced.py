"""What a run recorded about the states of its winner, read from result.json."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from clso.report.front import Floats
from clso.run.schema import STATES

__all__ = ["States", "read_states"]


@dataclass(frozen=True)
class States:
    """By layer, as `clso.models.nsm_trace.summary` says: `utilisation` (layers, states), `change`
    (layers, chunks), and routing entropy, routing sparsity, states in effect and the share of
    reading, (layers,) each."""

    utilisation: Floats
    change: Floats
    entropy: Floats
    sparsity: Floats
    used: Floats
    reading: Floats


def read_states(result: dict[str, Any]) -> States | None:
    """The states in result.json; None for a winner without. Raises `KeyError`, `TypeError` or
    `ValueError` if damaged."""
    if "states" not in result:
        return None
    found = [np.array(result["states"][name], dtype=np.float64) for name in STATES]
    n_layers = len(found[0])
    if (
        [a.ndim for a in found] != [2, 2, 1, 1, 1, 1]
        or any(len(a) != n_layers for a in found)
        or not found[0].size
    ):
        raise ValueError(f"states of {n_layers} layers, of shapes {[a.shape for a in found]}")
    return States(*found)
