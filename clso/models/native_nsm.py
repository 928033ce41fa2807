"""The states of an NSM, what tokens read of them, and the gradients in C (`c_sources/nsm.c`)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from clso.models.native import Call

if TYPE_CHECKING:
    from clso.models.nsm_gates import Gate
    from clso.models.nsm_recurrence import Weights

__all__ = ["advance", "retreat"]

_MOST_TOKENS = 4096
"""Of all sequences together, that are gone through by one call, about."""
_FORWARD_TOKENS = 1024
"""Of a sequence, forwards: what a call makes on the way stays in a cache."""
_BACKWARD_TOKENS = 512
"""The fewest, backwards. Otherwise it is half of them, so that what a call makes on the way is little
beside what is kept."""
_BLOCK = 4
"""Chunks that a thread takes at a time."""
_AHEAD = 4
"""Blocks that are made ready for the one thread that takes a sequence's gradient through time."""
_PANEL = 16  # of `common.h`

_CALL = Call(
    "nsm",
    "n_batch k c s d n_heads gru hears top_k m n_all first block ahead threads",
    "shared x token_maps token_bias norm norm_bias maps maps_bias gate gate_bias importance states "
    "tokens own scaled scale arguments weights shares mass kept d_read d_read_importance found grad "
    "d_found carried d_tokens d_later d_gate seen d_own normed "
    "d_token_bias d_norm d_norm_bias d_maps_bias d_gate_bias d_importance",
)


class _Shared:
    """What all calls for one layer have in common."""

    def __init__(self, w: Weights, gate: Gate, n_heads: int, top_k: int) -> None:
        arrays: dict[str, Tensor] = {
            "token_maps": w.tokens,
            "token_bias": w.tokens_bias,
            "norm": w.norm,
            "norm_bias": w.norm_bias,
            "maps": w.states,
            "maps_bias": w.states_bias,
            "gate": gate.weights,
            "gate_bias": gate.bias,
            "importance": w.importance,
        }
        self._arrays = {name: t.detach().contiguous() for name, t in arrays.items()}
        self.m = len(w.tokens) // w.d
        self._sizes = {
            "s": len(w.initial),
            "d": w.d,
            "n_heads": n_heads,
            "gru": w.is_gru,
            # states whose gate does not listen need not talk
            "hears": bool(gate.weights[:, w.d : 2 * w.d].any()),
            "top_k": top_k,
            "m": self.m,
            "block": _BLOCK,
            "ahead": _AHEAD,
        }

    def __call__(self, name: str, x: Tensor, at: slice, arrays: dict[str, Tensor]) -> None:
        """`name` for some of the chunks (B, J, c, d)."""
        (n_batch, n_all, c, d), k = x.shape, at.stop - at.start
        n_blocks = -(-k // _BLOCK)
        arrays = {
            **self._arrays,
            "x": x,
            "tokens": x.new_empty(n_batch, 1 + k, c, self.m * d),
            "shared": torch.zeros(1 + n_batch * (3 + n_blocks), dtype=torch.int64),
            **arrays,
        }
        # that share the work as they go: an item is one of them
        threads = min(torch.get_num_threads(), n_batch * n_blocks)
        sizes = {"n_batch": n_batch, "k": k, "c": c, "n_all": n_all, "first": at.start}
        _CALL(name, {**self._sizes, **sizes, "threads": threads}, arrays, threads)


def advance(
    x: Tensor, w: Weights, gate: Gate, n_heads: int, top_k: int, *, keep: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Tokens in chunks (B, J, c, d) -> states (J + 1, B, S, width), or unless `keep` only the last of
    them, and what tokens read (B, J, c, d), if `w` has the maps for it."""
    (n_batch, n_chunks, _, d), s = x.shape, len(w.initial)
    shared, x = _Shared(w, gate, n_heads, top_k), x.contiguous()
    parts = _parts(x, n_batch * _FORWARD_TOKENS)
    states = x.new_empty(1 + (n_chunks if keep else parts[0].stop), n_batch, *w.initial.shape)
    states[0] = w.initial
    found = torch.empty_like(x) if shared.m == 4 else None
    for at in parts:
        arrays = {"states": states[at.start :] if keep else states}
        if found is not None:
            own = x.new_empty(n_batch, at.stop - at.start, s, 3 * d)
            arrays |= {"found": found, "own": own}
        shared("nsm_advance", x, at, arrays)
        if not keep:
            states[0] = states[at.stop - at.start]
    return states, found


def retreat(
    x: Tensor,
    states: Tensor,
    grad: Tensor | None,
    d_found: Tensor | None,
    w: Weights,
    gate: Gate,
    n_heads: int,
    top_k: int,
) -> tuple[Tensor, Weights]:
    """Gradients of the tokens and of each of `Weights` from those of the states, if they have any, or
    of what was read."""
    (n_batch, _, c, d), s = x.shape, len(w.initial)
    shared, x = _Shared(w, gate, n_heads, top_k), x.contiguous()
    d_x, totals = torch.empty_like(x), type(w)(*map(torch.zeros_like, w))
    carried = torch.zeros_like(states[-1]) if grad is None else grad[-1].clone()
    by_sequence = {
        "d_token_bias": totals.tokens_bias,
        "d_norm": totals.norm,
        "d_norm_bias": totals.norm_bias,
        "d_maps_bias": totals.states_bias,
        "d_gate_bias": gate.bias,
        "d_importance": totals.importance,
    }
    sums = {name: x.new_zeros(n_batch, len(t)) for name, t in by_sequence.items()}
    waiting = _waiting(x, s, n_heads)
    given = {} if d_found is None else {"d_found": d_found.contiguous()}
    later = x.new_zeros(n_batch, c, 2 * d)
    for at in reversed(_parts(x, max(x[..., 0].numel() // 2, _BACKWARD_TOKENS))):
        part = x[:, at]
        k = part.shape[1]
        widths = {"d_gate": len(gate.weights), "seen": 3 * d, "d_own": 3 * d, "normed": d}
        made = {name: x.new_empty(k * n_batch * s, n) for name, n in widths.items()}
        d_tokens = x.new_empty(n_batch, k, c, shared.m * d)
        over_time = {"states": states[at.start :], "carried": carried, "d_tokens": d_tokens}
        if grad is not None:
            over_time["grad"] = grad[at.start :].contiguous()
        if d_found is not None:
            d_later = x.new_empty(n_batch, -(-k // _BLOCK) + 1, c, 2 * d)
            d_later[:, 0] = later
            over_time["d_later"] = d_later
        shared("nsm_retreat", x, at, {**given, **over_time, **made, **sums, **waiting})
        if d_found is not None:
            later = d_later[:, -1]
        inputs, shown = torch.split(made["seen"], [2 * d, d], dim=1)
        gate.add_up(made["d_gate"], inputs, shown, totals.of_gate)
        totals.states.addmm_(made["d_own"].t(), made["normed"])
        totals.tokens.addmm_(d_tokens.flatten(0, 2).t(), part.reshape(-1, d))
        d_x[:, at] = d_tokens @ w.tokens
    gate.add_bias(sums.pop("d_gate_bias").sum(0), totals.of_gate)
    for name, by_name in sums.items():
        by_sequence[name].add_(by_name.sum(0))
    totals.initial.add_(carried.sum(0))
    return d_x, totals


def _waiting(x: Tensor, s: int, n_heads: int) -> dict[str, Tensor]:
    """Room for what is kept of a sequence's chunks from when they are made ready to when they are gone
    through."""
    n_batch, _, c, d = x.shape
    weights = n_heads * (c + s) * (-(-s // _PANEL) * _PANEL)
    by_chunk = {
        "own": 3 * s * d, "scaled": s * d, "scale": s, "arguments": 4 * s * d,
        "weights": weights, "shares": weights, "mass": n_heads * s, "kept": s,
        "d_read": 2 * s * d, "d_read_importance": s,
    }  # fmt: skip
    return {name: x.new_empty(n_batch * _AHEAD * _BLOCK, n) for name, n in by_chunk.items()}


def _parts(x: Tensor, n_tokens: int) -> list[slice]:
    """The chunks that are gone through by one call, of about so many tokens."""
    n_batch, n_chunks, c, _ = x.shape
    size = max(1, min(n_tokens, _MOST_TOKENS) // (n_batch * c))
    return [slice(i, min(i + size, n_chunks)) for i in range(0, n_chunks, size)]
