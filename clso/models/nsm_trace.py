"""What a trace of states or memory slots says, in a few numbers for a record or a report."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

__all__ = ["NEGLIGIBLE", "summary"]

NEGLIGIBLE = 0.01  # of a token's weight: a target below it counts as not used by that token


def summary(trace: dict[str, Tensor]) -> dict[str, Any]:
    """JSON-able summary of `SequenceModel.trace`, a list with one entry a layer under each name;
    empty for an empty trace.

    routing_entropy: mean entropy of a token's routing over S targets, as a share of log S: 0 is one
    target, 1 is all alike.
    routing_sparsity: share of routing weights under 0.01.
    utilisation: share of all routed weight by target, (S,); sums to 1.
    targets_used: exp(entropy of utilisation), the effective number of targets, from 1 to S.
    state_reading: mean share of what a token reads that comes from states or slots.
    importance: learned importance by state.
    state_change: by chunk, RMS change of the states over the chunk as a share of their RMS;
    state_rms: by chunk."""
    if "routing" not in trace:
        return {}
    routing = trace["routing"].float()
    n_targets = routing.shape[-1]
    used = routing.mean(dim=(1, 2, 3))
    used = used / used.sum(dim=-1, keepdim=True)
    entropy = _entropy(routing).mean(dim=(1, 2, 3)) / math.log(max(n_targets, 2))
    found = {
        "routing_entropy": entropy,
        "routing_sparsity": (routing < NEGLIGIBLE).float().mean(dim=(1, 2, 3, 4)),
        "utilisation": used,
        "targets_used": _entropy(used).exp(),
        "state_reading": trace["reading"].float().sum(dim=-1).mean(dim=(1, 2, 3)),
    }
    if "importance" in trace:
        found["importance"] = trace["importance"]
    if "states" in trace:
        states = trace["states"].float()
        rms = states.square().mean(dim=(1, 3, 4)).sqrt()
        change = states.diff(dim=2).square().mean(dim=(1, 3, 4)).sqrt()
        found |= {"state_rms": rms, "state_change": change / rms[:, :-1].clamp_min(1e-12)}
    return {
        name: [round_values(layer) for layer in values.tolist()] for name, values in found.items()
    }


def round_values(value: Any) -> Any:
    """Six significant digits, in nested lists too."""
    return [round_values(v) for v in value] if isinstance(value, list) else float(f"{value:.6g}")


def _entropy(p: Tensor) -> Tensor:
    out: Tensor = torch.special.entr(p).sum(dim=-1)
    return out
